//! `weft authz explain` of the running mesh, for which a control plane stands in that only answers.

use std::sync::mpsc;

use insta::assert_snapshot;
use tokio::net::UnixListener;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::{Request, Response, Status, Streaming};
use weft_compile::{PolicySet, Proxy, Settings, Workload};
use weft_mesh::record::{AppProtocol, PortProtocol};
use weft_wire::proto::weft::v1 as proto;
use weft_wire::proto::weft::v1::control_server::{Control, ControlServer};

use crate::room::{PAYMENTS, Room, STRICT};

/// Two replicas of payments-api, one of them without the label that the policy selects.
struct Plane;

fn replica(name: &str, app: &str) -> Workload {
    let port = |port, protocol| PortProtocol { port, name: None, protocol };
    Workload {
        id: format!("payments/{name}").parse().unwrap(),
        identity: "spiffe://cluster.local/ns/payments/sa/payments-api".parse().unwrap(),
        service: "payments-api".to_owned(),
        labels: [("app".to_owned(), app.to_owned())].into(),
        addresses: vec!["240.240.0.9".parse().unwrap()],
        proxy: Proxy::Starting,
        ports: vec![port(5432, AppProtocol::Tcp), port(8080, AppProtocol::Http)],
        default_inbound: None,
        owner: None,
        node: None,
    }
}

#[tonic::async_trait]
impl Control for Plane {
    type LaunchStream = ReceiverStream<Result<proto::LaunchEvent, Status>>;

    async fn launch(
        &self,
        _: Request<Streaming<proto::LaunchRequest>>,
    ) -> Result<Response<Self::LaunchStream>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn list_workloads(
        &self,
        _: Request<proto::ListWorkloadsRequest>,
    ) -> Result<Response<proto::ListWorkloadsResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn get_inbound(
        &self,
        request: Request<proto::GetInboundRequest>,
    ) -> Result<Response<proto::GetInboundResponse>, Status> {
        let resources: Vec<_> = [("payments.yaml", PAYMENTS), ("mtls.yaml", STRICT)]
            .iter()
            .flat_map(|(name, text)| weft_resources::parse(name, text.as_bytes()).resources)
            .collect();
        let (policies, _) = PolicySet::new(&Settings::default(), &resources);
        let (one, two) = (replica("api-1", "payments-api"), replica("api-2", "other"));
        let found = match request.into_inner().target.as_str() {
            "payments/payments-api" => vec![one],
            "payments/one-port" => vec![Workload { ports: one.ports[1..].to_vec(), ..one }],
            "payments/tier=back" => vec![one, two],
            other => return Err(Status::not_found(format!("expected a workload that runs, found none of {other}"))),
        };
        let records = found.iter().map(|workload| (&weft_compile::inbound(&policies, workload, &[])).into()).collect();
        Ok(Response::new(proto::GetInboundResponse { records }))
    }

    async fn status(&self, _: Request<proto::StatusRequest>) -> Result<Response<proto::StatusResponse>, Status> {
        let problems = ["web.yaml:3: expected a mapping, found a list", "web.yaml:9: info: nothing to mend"];
        let problems = problems.map(str::to_owned).to_vec();
        Ok(Response::new(proto::StatusResponse { problems, ..proto::StatusResponse::default() }))
    }

    async fn shutdown(&self, _: Request<proto::ShutdownRequest>) -> Result<Response<proto::ShutdownResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

/// Runs `test` beside a control plane whose state folder is `room`'s.
fn beside_a_plane(room: &Room, test: impl FnOnce()) {
    let socket = room.path().join("control.sock");
    let (ready, is_ready) = mpsc::channel();
    let (end, is_over) = tokio::sync::oneshot::channel::<()>();
    let plane = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let incoming = UnixListenerStream::new(UnixListener::bind(socket).unwrap());
            ready.send(()).unwrap();
            let server = tonic::transport::Server::builder().add_service(ControlServer::new(Plane));
            let over = async move { drop(is_over.await) };
            server.serve_with_incoming_shutdown(incoming, over).await.unwrap();
        });
    });
    is_ready.recv().unwrap();
    test();
    drop(end);
    plane.join().unwrap();
}

#[test]
fn the_running_mesh_answers_as_a_folder_does() {
    let room = Room::new();
    beside_a_plane(&room, || {
        let ask = "--state-dir . authz explain --from cluster.local/ns/checkout/sa/checkout-service --to";
        assert_snapshot!(room.run(&format!("{ask} payments/payments-api --port 9000 -o json")), @r#"
        exit 0
        {
          "verdict": "allow",
          "rule": {
            "policy": "payments/payments-policy",
            "index": 0,
            "file": "payments.yaml",
            "line": 12
          },
          "reason": "allowed: ALLOW rule 0 matches (payments/payments-policy at payments.yaml:12)",
          "problems": [
            "web.yaml:3: expected a mapping, found a list"
          ]
        }
        --- stderr
        web.yaml:3: expected a mapping, found a list
        "#);
        assert_snapshot!(room.run(&format!("{ask} payments/payments-api --port 8080")), @r#"
        exit 0
        allow payments/payments-policy rule 0 at payments.yaml:12
              allowed: ALLOW rule 0 matches (payments/payments-policy at payments.yaml:12)
              port 8080 is declared http; asked as GET /
        --- stderr
        web.yaml:3: expected a mapping, found a list
        "#);
        assert_snapshot!(room.run(&format!("{ask} payments/payments-api --port 5432 --method GET")), @r#"
        exit 0
        allow payments/payments-policy rule 0 at payments.yaml:12
              allowed: ALLOW rule 0 matches (payments/payments-policy at payments.yaml:12)
              port 5432 is declared tcp, so that HTTP fields can't be seen
        --- stderr
        web.yaml:3: expected a mapping, found a list
        "#);
        assert_snapshot!(room.run(&format!("{ask} payments/one-port")), @r#"
        exit 0
        allow payments/payments-policy rule 0 at payments.yaml:12
              allowed: ALLOW rule 0 matches (payments/payments-policy at payments.yaml:12)
              port 8080 is declared http; asked as GET /
        --- stderr
        web.yaml:3: expected a mapping, found a list
        "#);
        assert_snapshot!(room.run("--state-dir . authz explain --to payments/payments-api"), @r#"
        exit 0
        deny  no rule
              denied: PeerAuthentication is STRICT (istio-system/default at mtls.yaml:1) and the caller proved no identity by mTLS
        --- stderr
        web.yaml:3: expected a mapping, found a list
        "#);
        assert_snapshot!(room.run("--state-dir . authz explain --from td/ns/a/sa/b --to payments/tier=back"), @r#"
        exit 1
        --- stderr
        web.yaml:3: expected a mapping, found a list
        error: workload payments/tier=back: expected replicas that are governed alike, found payments/api-1: deny, payments/api-2: allow
        hint: name one of them: --to payments/api-1
        "#);
        assert_snapshot!(room.run("--state-dir . authz explain --to payments/nobody"), @r#"
        exit 1
        --- stderr
        error: workload payments/nobody: expected a workload that runs, found none of payments/nobody
        hint: list what runs with weft ps, or ask a folder with -f DIR
        "#);
    });
}

#[test]
fn without_a_mesh_a_folder_can_be_asked() {
    assert_snapshot!(Room::new().run("--state-dir /nonexistent/state authz explain --to default/web"), @r#"
    exit 1
    --- stderr
    error: no mesh runs here: nothing answers at /nonexistent/state/control.sock
    hint: start one with weft up -f DIR -d, or ask a folder with -f DIR
    "#);
}
