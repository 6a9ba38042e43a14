//! The way to a control plane: gRPC over this machine's Unix socket, or as [`crate::access`] finds a cluster.

use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use weft_wire::proto::weft::v1::control_client::ControlClient;
use weft_wire::proto::weft::v1::observe_client::ObserveClient;

use crate::access::ANSWER_WAIT;
use crate::failure::Failure;
use crate::home::{Home, Mesh};

/// Connects to the mesh that runs on this state folder.
///
/// # Errors
/// When no mesh runs there.
pub(crate) async fn connect(home: &Home) -> Result<ControlClient<Channel>, Failure> {
    local(home).await.map(ControlClient::new)
}

/// Connects to a mesh of either home, to read signals.
///
/// # Errors
/// When none runs there, or the way to it is closed.
pub(crate) async fn observe(mesh: &Mesh) -> Result<ObserveClient<Channel>, Failure> {
    Ok(ObserveClient::new(channel(mesh).await?).max_decoding_message_size(MAX_ANSWER_BYTES))
}

/// Connects to a mesh of either home, to ask about its control plane.
///
/// # Errors
/// As [`observe`].
pub(crate) async fn control(mesh: &Mesh) -> Result<ControlClient<Channel>, Failure> {
    channel(mesh).await.map(ControlClient::new)
}

async fn channel(mesh: &Mesh) -> Result<Channel, Failure> {
    match mesh {
        Mesh::Local(home) => local(home).await,
        Mesh::Cluster(access) => access.channel().await,
    }
}

async fn local(home: &Home) -> Result<Channel, Failure> {
    let socket = home.socket();
    let none = || Failure::new(format!("no mesh runs here: nothing answers at {}", socket.display())).hint(START);
    let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display())).map_err(|_| none())?;
    endpoint.timeout(ANSWER_WAIT).connect().await.map_err(|_| none())
}

/// What a call's failure means to a user.
pub(crate) fn refused(what: &str, status: &tonic::Status) -> Failure {
    let failure = Failure::new(format!("{what}: {}", status.message()));
    match status.code() {
        // It is this side that ended the call, after its time.
        Code::Cancelled => {
            let limit = ANSWER_WAIT.as_secs();
            Failure::new(format!("{what}: the control plane runs, but gave no answer within {limit} s"))
                .hint("is it stopped, or the machine overloaded? its log is in the state folder")
        }
        // It isn't what was asked that is wrong.
        Code::Unavailable | Code::Unknown | Code::Internal => failure.hint("see how the mesh is: weft check"),
        _ => failure,
    }
}

/// What to do where no mesh runs.
pub(crate) const START: &str = "start one with: weft up -f DIR -d; or name a cluster: --kubeconfig FILE";
/// The rows of a mesh at all its bounds.
const MAX_ANSWER_BYTES: usize = 64 << 20;
