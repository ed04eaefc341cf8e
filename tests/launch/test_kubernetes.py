"""launch/k8s.sh with a fake kubectl, and the image that it runs."""

import configparser

import pytest
import yaml

from tests.support.launcher import ARGUMENTS, ROOT, Project, parse

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
    """Returns the manifest that is applied, its job, pod and container."""
    code, _, err = self.run("apply", *(command or ("train",)), **env)
    assert code == 0, err
    assert self.calls()[-1] == ["kubectl", "apply", "--filename=-"]
    text = self.file.read_text()
    assert "${" not in text
    manifest = yaml.safe_load(text)
    [workers] = manifest["spec"]["replicatedJobs"]
    job = workers["template"]["spec"]
    pod = job["template"]["spec"]
    [container] = pod["containers"]
    return manifest, job, pod, container


@pytest.fixture
def kubernetes(tmp_path):
  return Kubernetes(tmp_path)


class TestApply:
  def test_one_gpu_node(self, kubernetes):
    manifest, _, pod, container = kubernetes.apply()
    assert manifest["metadata"] == {"name": "cinn-jax"}
    assert container["image"] == "registry/image:1"
    assert container["resources"] == {"limits": {"nvidia.com/gpu": 8}}
    assert container["command"] == ["train", "--workdir=gs://bucket/run"]
    assert pod["nodeSelector"] == {}

  def test_several_gpu_nodes(self, kubernetes):
    _, job, pod, container = kubernetes.apply(
      NODES="3", NAME="mine", GPU_TYPE="nvidia-h100-80gb"
    )
    assert container["command"][2:] == [
      "--coordinator=mine-workers-0-0.mine:8476",
      "--num_processes=3",
      "--process_id=$(PROCESS_ID)",
    ]
    [variable] = container["env"]
    source = variable["valueFrom"]["fieldRef"]["fieldPath"]
    assert variable["name"] == "PROCESS_ID" and "completion-index" in source
    assert (job["completions"], job["parallelism"]) == (3, 3)
    assert job["completionMode"] == "Indexed"
    selector = {"cloud.google.com/gke-accelerator": "nvidia-h100-80gb"}
    assert pod["nodeSelector"] == selector

  def test_a_tpu_slice(self, kubernetes):
    _, _, pod, container = kubernetes.apply(
      DEVICE="tpu", NODES="4", DEVICES="4", TPU_TOPOLOGY="4x4"
    )
    # GKE itself describes the slice to JAX.
    assert container["command"][1:] == ["--workdir=gs://bucket/run"]
    assert container["resources"] == {"limits": {"google.com/tpu": 4}}
    assert pod["nodeSelector"] == {
      "cloud.google.com/gke-tpu-accelerator": "tpu-v6e-slice",
      "cloud.google.com/gke-tpu-topology": "4x4",
    }

  def test_other_settings(self, kubernetes):
    manifest, _, pod, _ = kubernetes.apply(
      NODE_SELECTOR='{"pool": "a b"}',
      SERVICE_ACCOUNT="writer",
      GRACE_SECONDS="60",
      MAX_RESTARTS="7",
    )
    assert pod["nodeSelector"] == {"pool": "a b"}
    assert pod["serviceAccountName"] == "writer"
    assert pod["terminationGracePeriodSeconds"] == 60
    assert manifest["spec"]["failurePolicy"]["maxRestarts"] == 7

  def test_arguments_are_unchanged(self, kubernetes):
    *_, container = kubernetes.apply("train", *ARGUMENTS)
    # The kubelet turns $$( into $(.
    escaped = [word.replace("$(", "$$(") for word in ARGUMENTS]
    assert container["command"][1:-1] == escaped


@pytest.mark.parametrize(
  ("code", "action"),
  [(75, "Count"), (134, "Count"), (1, "FailJob"), (137, "FailJob")],
)
def test_exit_codes_restart_or_fail(kubernetes, code, action):
  manifest, job, _, container = kubernetes.apply()
  # Kubernetes uses the first rule that fits. A lost node comes first.
  lost, *rules = job["podFailurePolicy"]["rules"]
  condition = {"type": "DisruptionTarget", "status": "True"}
  assert lost == {"action": "Count", "onPodConditions": [condition]}
  codes = [(rule["action"], rule["onExitCodes"]) for rule in rules]
  assert {x["containerName"] for _, x in codes} == {container["name"]}
  fits = [
    a for a, x in codes if (code in x["values"]) == (x["operator"] == "In")
  ]
  assert fits[0] == action and job["backoffLimit"] == 0
  # FailJob is the reason PodFailurePolicy; all other failures restart.
  [rule] = manifest["spec"]["failurePolicy"]["rules"]
  assert rule["action"] == "FailJobSet"
  assert rule["onJobFailureReasons"] == ["PodFailurePolicy"]


def test_logs_and_delete(kubernetes):
  kubernetes.run("logs", "2", NAMESPACE="mine")
  kubernetes.run("delete", IMAGE=None)
  logs, delete = kubernetes.calls()
  assert logs[1:3] == ["--namespace=mine", "logs"]
  name, index = logs[-1].removeprefix("--selector=").split(",")
  assert name == "jobset.sigs.k8s.io/jobset-name=cinn-jax"
  assert index == "batch.kubernetes.io/job-completion-index=2"
  assert delete[1:] == ["delete", "jobset", "cinn-jax", "--ignore-not-found"]


@pytest.mark.parametrize(
  "words", [["apply", "train", *ARGUMENTS], ["logs"], ["delete"]]
)
def test_dry_run_prints_what_would_run(kubernetes, words):
  _, dry, _ = kubernetes.run("--dry-run", *words)
  assert not kubernetes.calls()
  kubernetes.run(*words)
  assert kubernetes.calls() == parse(dry)
  lines = [x[2:] for x in dry.splitlines() if x.startswith("# ")]
  if words[0] == "apply":
    assert "\n".join(lines) == kubernetes.file.read_text().rstrip("\n")


@pytest.mark.parametrize(
  ("words", "env", "message"),
  [
    ([], {}, "usage: launch/k8s.sh apply|logs|delete"),
    (["--dri-run"], {}, "unknown option --dri-run"),
    (["apply"], {}, "usage: launch/k8s.sh apply COMMAND"),
    (["apply", "x"], {"IMAGE": None}, "IMAGE is not set"),
    (["apply", "x"], {"WORKDIR": "s3://b"}, "WORKDIR is 's3://b'; set it to"),
    (["apply", "x"], {"DEVICE": "npu"}, "DEVICE is 'npu'; expected gpu or"),
    (["apply", "x"], {"DEVICE": "tpu"}, "TPU_TOPOLOGY is not set"),
    (["apply", "a\nb"], {}, "COMMAND contains a line break"),
    (["delete"], {"PATH": None}, "found no kubectl"),
  ],
)
def test_bad_calls_are_refused(kubernetes, words, env, message):
  if "PATH" in env:
    env = {"PATH": kubernetes.path_without("kubectl")}
  assert message in kubernetes.refusal(*words, **env)


def test_the_image_fits_the_project():
  config = configparser.ConfigParser()
  config.read(ROOT / "setup.cfg")
  text = (ROOT / "launch" / "Dockerfile").read_text().replace("\\\n", " ")
  lines = [line.split(maxsplit=1) for line in text.splitlines() if " " in line]
  copies = [rest.split()[:-1] for name, rest in lines if name == "COPY"]
  # Everything that is copied exists and is not ignored.
  ignored, *kept = (ROOT / "launch/Dockerfile.dockerignore").read_text().split()
  kept = {rule[1:] for rule in kept if rule.startswith("!")}
  assert ignored == "*" and {x for copy in copies for x in copy} == kept
  assert all((ROOT / name).exists() for name in kept)
  # Everything that pip reads is copied first.
  readme = config["metadata"]["long_description"].removeprefix("file: ")
  assert {"setup.cfg", "pyproject.toml", readme} <= set(copies[0])
  # Its platforms are extras, and every image has gcs for its workdir.
  platforms = ["cuda12", "cuda13", "tpu"]
  [install] = [x for name, x in lines if name == "RUN" and "case" in x]
  assert " | ".join(platforms) + ")" in install
  assert install.count("install ") == install.count("[gcs") == 2
  assert {*platforms, "gcs"} <= set(config["options.extras_require"])
  assert ["ARG", "PLATFORM=cuda13"] in lines
