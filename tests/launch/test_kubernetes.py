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


def test_one_gpu_node(kubernetes):
  manifest, _, pod, container = kubernetes.apply("train", *ARGUMENTS)
  assert manifest["metadata"] == {"name": "cinn-jax"}
  assert container["image"] == "registry/image:1"
  assert container["resources"] == {"limits": {"nvidia.com/gpu": 8}}
  # The kubelet turns $$( into $(.
  escaped = [word.replace("$(", "$$(") for word in ARGUMENTS]
  command = ["train", *escaped, "--workdir=gs://bucket/run"]
  assert container["command"] == command
  assert pod["nodeSelector"] == {}


def test_several_gpu_nodes_and_other_settings(kubernetes):
  manifest, job, pod, container = kubernetes.apply(
    NODES="3",
    NAME="mine",
    GPU_TYPE="nvidia-h100-80gb",
    SERVICE_ACCOUNT="writer",
    GRACE_SECONDS="60",
    MAX_RESTARTS="7",
  )
  assert container["command"][2:] == [
    "--coordinator=mine-workers-0-0.mine:8476",
    "--num_processes=3",
    "--process_id=$(PROCESS_ID)",
  ]
  [variable] = container["env"]
  source = variable["valueFrom"]["fieldRef"]["fieldPath"]
  assert variable["name"] == "PROCESS_ID" and "completion-index" in source
  assert job["completions"] == job["parallelism"] == 3
  assert job["completionMode"] == "Indexed"
  selector = {"cloud.google.com/gke-accelerator": "nvidia-h100-80gb"}
  assert pod["nodeSelector"] == selector
  assert pod["serviceAccountName"] == "writer"
  assert pod["terminationGracePeriodSeconds"] == 60
  assert manifest["spec"]["failurePolicy"]["maxRestarts"] == 7


def test_a_tpu_slice(kubernetes):
  tpu = {"DEVICE": "tpu", "NODES": "4", "DEVICES": "4", "TPU_TOPOLOGY": "4x4"}
  _, _, pod, container = kubernetes.apply(**tpu)
  # GKE itself describes the slice to JAX.
  assert container["command"][1:] == ["--workdir=gs://bucket/run"]
  assert container["resources"] == {"limits": {"google.com/tpu": 4}}
  assert pod["nodeSelector"] == {
    "cloud.google.com/gke-tpu-accelerator": "tpu-v6e-slice",
    "cloud.google.com/gke-tpu-topology": "4x4",
  }
  _, _, pod, _ = kubernetes.apply(**tpu, NODE_SELECTOR='{"pool": "a b"}')
  assert pod["nodeSelector"] == {"pool": "a b"}


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


def test_dry_run_prints_what_would_run(kubernetes):
  words = ["apply", "train", *ARGUMENTS], ["logs", "2"], ["delete"]
  kubernetes.env["NAMESPACE"] = "mine"
  dry = "".join(kubernetes.run("--dry-run", *x)[1] for x in words)
  assert not kubernetes.calls()
  for x in words:
    kubernetes.run(*x)
  assert kubernetes.calls() == parse(dry)
  manifest = [x[2:] for x in dry.splitlines() if x.startswith("# ")]
  assert manifest == kubernetes.file.read_text().splitlines()
  _, logs, delete = [call[2:] for call in kubernetes.calls()]
  assert logs[-1] == (
    "--selector=jobset.sigs.k8s.io/jobset-name=cinn-jax,"
    "batch.kubernetes.io/job-completion-index=2"
  )
  assert delete == ["delete", "jobset", "cinn-jax", "--ignore-not-found"]


def test_the_image_fits_the_project():
  config = configparser.ConfigParser()
  config.read(ROOT / "setup.cfg")
  text = (ROOT / "launch" / "Dockerfile").read_text()
  copies = [x.split()[1:-1] for x in text.splitlines() if x[:5] == "COPY "]
  # Everything that is copied exists and is not ignored.
  ignored, *kept = (ROOT / "launch/Dockerfile.dockerignore").read_text().split()
  kept = {rule[1:] for rule in kept if rule.startswith("!")}
  assert ignored == "*" and {x for copy in copies for x in copy} == kept
  assert all((ROOT / name).exists() for name in kept)
  # Everything that pip reads is copied first.
  readme = config["metadata"]["long_description"].removeprefix("file: ")
  assert {"setup.cfg", "pyproject.toml", readme, "LICENSE"} <= set(copies[0])
  # The platforms are extras, and each image has gcs for its workdir.
  assert "ARG PLATFORM=cuda13\n" in text and "cuda12 | cuda13 | tpu)" in text
  assert '".[gcs]"' in text and '".[gcs,$PLATFORM]"' in text
  extras = {"cuda12", "cuda13", "tpu", "gcs"}
  assert extras <= set(config["options.extras_require"])
