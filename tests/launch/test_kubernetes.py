"""launch/k8s.sh with a kubectl that only pretends, and what it applies."""

import configparser
import json

import pytest
import yaml

from tests.support.fakes import ARGUMENTS, Project, parse
from tests.support.launcher import ROOT

KUBECTL = 'case "$*" in *filename=-*) cat >"$MANIFEST" ;; esac'


class Kubernetes(Project):
  def __init__(self, folder):
    super().__init__(folder, "k8s.sh")
    self.fake("kubectl", KUBECTL)
    self.file = folder / "manifest"
    self.env |= {
      "MANIFEST": str(self.file),
      "IMAGE": "registry/image:1",
      "WORKDIR": "gs://bucket/run",
    }

  def apply(self, *command, **env):
    """The JobSet that is applied."""
    code, _, err = self.run("apply", *(command or ("train",)), **env)
    assert code == 0, err
    assert self.calls()[-1] == ["kubectl", "apply", "--filename=-"]
    text = self.file.read_text()
    assert "${" not in text
    return yaml.safe_load(text)


@pytest.fixture
def kubernetes(tmp_path):
  return Kubernetes(tmp_path)


def job(manifest):
  [workers] = manifest["spec"]["replicatedJobs"]
  return workers["template"]["spec"]


def pod(manifest):
  return job(manifest)["template"]["spec"]


def container(manifest):
  [training] = pod(manifest)["containers"]
  return training


class TestApply:
  def test_one_gpu_node(self, kubernetes):
    manifest = kubernetes.apply()
    assert manifest["metadata"] == {"name": "cinn-jax"}
    assert container(manifest)["image"] == "registry/image:1"
    assert container(manifest)["resources"] == {"limits": {"nvidia.com/gpu": 8}}
    command = container(manifest)["command"]
    assert command == ["train", "--workdir=gs://bucket/run"]
    assert pod(manifest)["nodeSelector"] == {}

  def test_more_gpu_nodes_are_told_of_each_other(self, kubernetes):
    how = {"NODES": "3", "NAME": "mine", "GPU_TYPE": "nvidia-h100-80gb"}
    manifest = kubernetes.apply(**how)
    assert container(manifest)["command"][2:] == [
      "--coordinator=mine-workers-0-0.mine:8476",
      "--num_processes=3",
      "--process_id=$(PROCESS_ID)",
    ]
    [variable] = container(manifest)["env"]
    source = variable["valueFrom"]["fieldRef"]["fieldPath"]
    assert variable["name"] == "PROCESS_ID" and "completion-index" in source
    spec = job(manifest)
    assert (spec["completions"], spec["parallelism"]) == (3, 3)
    assert spec["completionMode"] == "Indexed"
    selector = {"cloud.google.com/gke-accelerator": "nvidia-h100-80gb"}
    assert pod(manifest)["nodeSelector"] == selector

  def test_a_tpu_slice(self, kubernetes):
    manifest = kubernetes.apply(
      DEVICE="tpu", NODES="4", DEVICES="4", TPU_TOPOLOGY="4x4"
    )
    # GKE itself tells JAX of the slice.
    assert container(manifest)["command"][1:] == ["--workdir=gs://bucket/run"]
    assert container(manifest)["resources"] == {"limits": {"google.com/tpu": 4}}
    assert pod(manifest)["nodeSelector"] == {
      "cloud.google.com/gke-tpu-accelerator": "tpu-v6e-slice",
      "cloud.google.com/gke-tpu-topology": "4x4",
    }

  def test_other_settings(self, kubernetes):
    selector = {"pool": "a b"}
    manifest = kubernetes.apply(
      NODE_SELECTOR=json.dumps(selector),
      SERVICE_ACCOUNT="writer",
      GRACE_SECONDS="60",
      MAX_RESTARTS="7",
    )
    assert pod(manifest)["nodeSelector"] == selector
    assert pod(manifest)["serviceAccountName"] == "writer"
    assert pod(manifest)["terminationGracePeriodSeconds"] == 60
    assert manifest["spec"]["failurePolicy"]["maxRestarts"] == 7

  def test_arguments_survive(self, kubernetes):
    command = container(kubernetes.apply("train", *ARGUMENTS))["command"]
    # To the kubelet $$( is $(.
    command = [word.replace("$$(", "$(") for word in command]
    assert command[1:-1] == ARGUMENTS
    assert "$$(id)" in container(kubernetes.apply("x", "$(id)"))["command"]


class TestExitCodes:
  """Kubernetes takes the first rule that fits a failed pod."""

  def action(self, manifest, code):
    assert job(manifest)["backoffLimit"] == 0
    for rule in job(manifest)["podFailurePolicy"]["rules"]:
      codes = rule.get("onExitCodes")
      if not codes:
        continue
      assert codes["containerName"] == container(manifest)["name"]
      if (code in codes["values"]) == (codes["operator"] == "In"):
        return rule["action"]
    raise AssertionError(f"no rule for {code}")

  def test_errors_fail_and_75_restarts(self, kubernetes):
    manifest = kubernetes.apply()
    assert self.action(manifest, 1) == self.action(manifest, 137) == "FailJob"
    assert self.action(manifest, 75) == self.action(manifest, 134) == "Count"
    # FailJob is the reason PodFailurePolicy; all else restarts the set.
    [rule] = manifest["spec"]["failurePolicy"]["rules"]
    assert rule["action"] == "FailJobSet"
    assert rule["onJobFailureReasons"] == ["PodFailurePolicy"]

  def test_a_lost_node_comes_before_its_code(self, kubernetes):
    rule, *_ = job(kubernetes.apply())["podFailurePolicy"]["rules"]
    condition = {"type": "DisruptionTarget", "status": "True"}
    assert rule == {"action": "Count", "onPodConditions": [condition]}


class TestOtherWords:
  def test_logs_are_one_pods(self, kubernetes):
    kubernetes.run("logs", "2", NAMESPACE="mine")
    [call] = kubernetes.calls()
    assert call[1:3] == ["--namespace=mine", "logs"]
    name, index = call[-1].removeprefix("--selector=").split(",")
    assert name == "jobset.sigs.k8s.io/jobset-name=cinn-jax"
    assert index == "batch.kubernetes.io/job-completion-index=2"

  def test_delete_may_be_repeated(self, kubernetes):
    kubernetes.run("delete", IMAGE=None)
    [call] = kubernetes.calls()
    assert call[1:] == ["delete", "jobset", "cinn-jax", "--ignore-not-found"]


class TestOptions:
  def test_dry_run_says_what_is_run(self, kubernetes):
    _, dry, _ = kubernetes.run("--dry-run", "apply", "train", *ARGUMENTS)
    assert not kubernetes.calls()
    applied = kubernetes.apply("train", *ARGUMENTS)
    assert kubernetes.calls() == parse(dry)
    lines = [x[2:] for x in dry.splitlines() if x.startswith("# ")]
    assert yaml.safe_load("\n".join(lines)) == applied

  @pytest.mark.parametrize("word", ["logs", "delete"])
  def test_dry_run_of_the_others(self, kubernetes, word):
    _, dry, _ = kubernetes.run("--dry-run", word)
    assert not kubernetes.calls()
    kubernetes.run(word)
    assert kubernetes.calls() == parse(dry)

  def test_help(self, kubernetes):
    code, out, _ = kubernetes.run("--help")
    assert code == 0 and "apply COMMAND" in out

  @pytest.mark.parametrize(
    ("words", "env", "says"),
    [
      ([], {}, "usage: launch/k8s.sh apply|logs|delete"),
      (["--dri-run"], {}, "unknown option --dri-run"),
      (["apply"], {}, "usage: launch/k8s.sh apply COMMAND"),
      (["apply", "x"], {"IMAGE": None}, "IMAGE is not set"),
      (["apply", "x"], {"WORKDIR": "/tmp"}, "WORKDIR is '/tmp'; set it to"),
      (["apply", "x"], {"WORKDIR": "s3://b"}, "WORKDIR is 's3://b'; set it to"),
      (["apply", "x"], {"DEVICE": "npu"}, "DEVICE is 'npu'; expected gpu or"),
      (["apply", "x"], {"DEVICE": "tpu"}, "TPU_TOPOLOGY is not set"),
      (["apply", "a\nb"], {}, "a word of COMMAND has a line break"),
    ],
  )
  def test_what_is_missing_is_said_in_a_line(
    self, kubernetes, words, env, says
  ):
    assert says in kubernetes.refusal(*words, **env)
    assert not kubernetes.calls()

  def test_without_kubectl(self, kubernetes):
    path = kubernetes.path_without("kubectl")
    assert "found no kubectl" in kubernetes.refusal("delete", PATH=path)


class TestImage:
  def instructions(self, name):
    text = (ROOT / "launch" / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.startswith(f"{name} ")]
    return [line.removeprefix(f"{name} ") for line in lines]

  def test_what_is_copied_is_there_and_not_ignored(self):
    rules = (ROOT / "launch" / "Dockerfile.dockerignore").read_text().split()
    kept = {rule[1:] for rule in rules if rule.startswith("!")}
    assert rules[0] == "*"
    copied = {
      x for line in self.instructions("COPY") for x in line.split()[:-1]
    }
    assert copied == kept and all((ROOT / name).exists() for name in copied)

  def test_what_setup_cfg_reads_is_copied_before_it_is_read(self):
    first = self.instructions("COPY")[0].split()
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    readme = config["metadata"]["long_description"].removeprefix("file: ")
    assert {"setup.cfg", "pyproject.toml", readme} <= set(first)

  def test_its_platforms_are_extras(self):
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    [install] = [x for x in self.instructions("RUN") if "case" in x]
    platforms = "cuda12", "cuda13", "tpu"
    assert " | ".join(platforms) + ")" in install
    # For its workdir; with every platform.
    assert install.count("install ") == install.count("[gcs") == 2
    assert "gcs" in config["options.extras_require"]
    assert set(platforms) <= set(config["options.extras_require"])
    [default] = [
      x for x in self.instructions("ARG") if x.startswith("PLATFORM=")
    ]
    assert default.removeprefix("PLATFORM=") in platforms
