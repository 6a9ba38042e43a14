//! What a run found, as JSON and as a Markdown table. Pure.

use std::time::Duration;

use serde::Serialize;

use crate::controller::Cost;
use crate::plan::Plan;

/// A run's findings.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) date: String,
    pub(crate) machine: Machine,
    pub(crate) plan: Plan,
    pub(crate) phases: Vec<Phase>,
    /// Seconds from the start of all proxies until the last had its certificate.
    pub(crate) certified_s: f64,
    pub(crate) changes: Vec<Row>,
    pub(crate) proxy: ProxyMemory,
}

/// What a pod's proxy held that talks to ten Services, each time that it was started.
#[derive(Debug, Serialize)]
pub(crate) struct ProxyMemory {
    /// In a mesh of these ten.
    pub(crate) small: Vec<Cost>,
    /// In the whole mesh.
    pub(crate) large: Vec<Cost>,
}

/// Where it ran.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) kernel: String,
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    /// How many processes wanted to run in the last minute.
    pub(crate) load: String,
}

/// A part of the run, and what the control plane took when it had ended.
#[derive(Debug, Serialize)]
pub(crate) struct Phase {
    pub(crate) name: &'static str,
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
    #[serde(flatten)]
    pub(crate) cost: Cost,
}

/// A kind of change.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// Milliseconds until the last proxy had it, change by change, in ascending order.
    last_ms: Vec<f64>,
    /// How many proxies were told, in all rounds together, and those alone.
    told: usize,
    rounds: usize,
    bytes_to_concerned: u64,
    /// Keep-alives, for the most part.
    bytes_to_others: u64,
    cpu_ms: f64,
}

impl Phase {
    pub(crate) fn new(name: &'static str, took: Duration, (before_ns, cost): (u64, Cost)) -> Self {
        let cpu = Duration::from_nanos(cost.cpu_ns.saturating_sub(before_ns));
        Self { name, seconds: took.as_secs_f64(), cpu_seconds: cpu.as_secs_f64(), cost }
    }
}

impl Row {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, last_ms: Vec::new(), told: 0, rounds: 0, bytes_to_concerned: 0, bytes_to_others: 0, cpu_ms: 0.0 }
    }

    /// Adds a round: some changes, how many proxies they concerned, bytes to those and to others.
    pub(crate) fn add(&mut self, last: &[Duration], told: usize, bytes: (u64, u64), cpu: Duration) {
        self.last_ms.extend(last.iter().map(|delay| delay.as_secs_f64() * 1e3));
        self.last_ms.sort_by(f64::total_cmp);
        self.told += told;
        self.rounds += 1;
        self.bytes_to_concerned += bytes.0;
        self.bytes_to_others += bytes.1;
        self.cpu_ms += cpu.as_secs_f64() * 1e3;
    }

    /// The value below which a share of the changes lies.
    fn quantile(&self, share: f64) -> f64 {
        let rank = (share * self.last_ms.len() as f64).ceil() as usize;
        self.last_ms.get(rank.saturating_sub(1)).or(self.last_ms.last()).copied().unwrap_or_default()
    }

    fn line(&self) -> String {
        let changes = self.last_ms.len().max(1);
        format!(
            "| {} | {changes} | {} | {:.0} | {:.0} | {:.0} | {:.1} | {:.1} |",
            self.name,
            self.told / self.rounds.max(1),
            self.quantile(0.5),
            self.quantile(0.99),
            self.quantile(1.0),
            self.bytes_to_concerned as f64 / changes as f64 / 1024.0,
            self.cpu_ms / changes as f64,
        ) + "\n"
    }
}

impl Report {
    pub(crate) fn markdown(&self) -> String {
        let Plan { proxies, pods, services, namespaces } = self.plan;
        let Machine { kernel, cpu, cores, load } = &self.machine;
        let rate = proxies as f64 / self.certified_s.max(f64::EPSILON);
        format!(
            "{proxies} proxies, {pods} pods, {services} Services, {namespaces} namespaces; {}, Linux {kernel}, \
             {cores} × {cpu}, load average {load}\n\n{}\n\
             The last certificate came {:.2} s after all proxies had started: {rate:.0} each second.\n\n{}\n{}",
            self.date,
            self.phases(),
            self.certified_s,
            self.changes(),
            self.proxy.markdown(),
        )
    }

    fn phases(&self) -> String {
        let mib = |kib: u64| format!("{:.1}", kib as f64 / 1024.0);
        let line = |Phase { name, seconds, cpu_seconds, cost }: &Phase| {
            let memory = [cost.anonymous_kib, cost.rss_kib, cost.peak_kib].map(mib).join(" | ");
            format!("| {name} | {seconds:.2} | {cpu_seconds:.2} | {memory} |\n")
        };
        let head = "| phase | s | CPU s | Anonymous MiB | RSS MiB | most RSS MiB |\n|---|---|---|---|---|---|\n";
        head.to_owned() + &self.phases.iter().map(line).collect::<String>()
    }

    fn changes(&self) -> String {
        let head = "| change | changes | proxies told | p50 ms | p99 ms | max ms | KiB sent a change | CPU ms a change |\n\
                    |---|---|---|---|---|---|---|---|\n";
        head.to_owned() + &self.changes.iter().map(Row::line).collect::<String>()
    }
}

impl ProxyMemory {
    fn markdown(&self) -> String {
        let range = |costs: &[Cost], kib: fn(&Cost) -> u64| {
            let (least, most) = (costs.iter().map(kib).min(), costs.iter().map(kib).max());
            format!("{} to {}", least.unwrap_or_default(), most.unwrap_or_default())
        };
        let line = |name: &str, costs: &[Cost]| {
            let (anonymous, rss) = (range(costs, |cost| cost.anonymous_kib), range(costs, |cost| cost.rss_kib));
            format!("| {name} | {} | {anonymous} | {rss} |\n", costs.len())
        };
        "| a pod's proxy that talks to ten Services | times | Anonymous KiB | RSS KiB |\n|---|---|---|---|\n".to_owned()
            + &line("in a mesh of these ten", &self.small)
            + &line("in the whole mesh", &self.large)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_changes_themselves() {
        let mut row = Row::new("x");
        let last: Vec<Duration> = (1..=200).rev().map(Duration::from_millis).collect();
        row.add(&last, 10, (2048, 5), Duration::from_millis(400));
        assert_eq!([row.quantile(0.5), row.quantile(0.99), row.quantile(1.0)], [100.0, 198.0, 200.0]);
        assert_eq!(row.line(), "| x | 200 | 10 | 100 | 198 | 200 | 0.0 | 2.0 |\n");
    }
}
