//! Scratch.
use std::sync::Arc;
use weft_kube::{inject, webhook};
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let client = kube::Client::try_default().await.unwrap();
    let config = inject::Config {
        namespace: "inject-weft".into(), trust_domain: "cluster.local".into(), cluster_domain: "cluster.local".into(),
        proxy_image: "localhost/weft/proxy:0.1.0".into(), image_pull_policy: "IfNotPresent".into(),
        control_address: "10.91.240.99:15012".into(), trust_anchors: "PEM".into(), resources: inject::Resources::default(),
    };
    let (_c, config) = tokio::sync::watch::channel(Arc::new(config));
    let (_s, stop) = tokio::sync::watch::channel(false);
    let settings = webhook::Settings { namespace: "inject-weft".into(), address: "0.0.0.0:15917".parse().unwrap() };
    let metrics = Arc::new(webhook::Metrics::default());
    let m = metrics.clone();
    tokio::spawn(async move { loop { tokio::time::sleep(std::time::Duration::from_secs(5)).await; eprintln!("{}", m.render()); } });
    webhook::serve(client, settings, config, metrics, stop).await.unwrap();
}
