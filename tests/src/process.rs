//! Processes of pods, found at their node: to end one as a crash would, or to run something in its network.

use std::process::Command;

use crate::cluster::Cluster;
use crate::mesh::told;

/// A process of a pod.
#[derive(Debug, Clone, Copy)]
pub struct Process<'a> {
    cluster: &'a Cluster,
    node: u32,
    pid: u32,
}

impl<'a> Process<'a> {
    /// The only process of a pod that runs `program` (its short name: `weft-proxy`, `python3`).
    ///
    /// # Panics
    /// When there is none, or more than one.
    pub fn of(cluster: &'a Cluster, (namespace, pod): (&str, &str), program: &str) -> Self {
        let ask = "jsonpath={.spec.nodeName} {.metadata.uid}";
        let told = cluster.run(&["get", "pod", "-n", namespace, pod, "-o", ask]);
        let (node, uid) = told.split_once(' ').expect("a node and a uid");
        let node = node.trim_start_matches("node").parse().expect("a node of the test cluster");
        let pids = cluster.node(node).args(["sh", "-c", FIND, "sh", uid, program]).output().expect("the node");
        let found = String::from_utf8_lossy(&pids.stdout).into_owned();
        let mut lines = found.lines();
        let (Some(pid), None) = (lines.next(), lines.next()) else {
            panic!("expected one {program} in {namespace}/{pod}, found {found:?}: {}", crate::mesh::told(&pids))
        };
        Self { cluster, node, pid: pid.parse().expect("a pid") }
    }

    /// Ends it at once, as the kernel would: nothing of it can say goodbye.
    ///
    /// # Panics
    /// When it has ended already.
    pub fn kill(&self) {
        let killed = self.node().args(["kill", "-9", &self.pid.to_string()]).output().expect("the node");
        assert!(killed.status.success(), "{self:?}: {}", told(&killed));
    }

    /// A command in its network, and else at its node.
    pub fn network(&self) -> Command {
        let mut command = self.node();
        command.args(["nsenter", "--target", &self.pid.to_string(), "--net", "--"]);
        command
    }

    /// What `/proc/PID/status` says under a name, such as `RssAnon`, in KiB.
    ///
    /// # Panics
    /// When it has ended.
    pub fn kib(&self, name: &str) -> u64 {
        let status = self.node().args(["cat", &format!("/proc/{}/status", self.pid)]).output().expect("the node");
        let status = String::from_utf8_lossy(&status.stdout).into_owned();
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let amount = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        amount.unwrap_or_else(|| panic!("no {name} of {self:?} in {status}"))
    }

    fn node(&self) -> Command {
        self.cluster.node(self.node)
    }
}

/// The kubelet names a process's cgroup after its pod.
const FIND: &str = r#"for process in /proc/[0-9]*; do
  if grep -qs "pod$1" $process/cgroup && [ "$(cat $process/comm)" = "$2" ]; then echo ${process#/proc/}; fi
done"#;
