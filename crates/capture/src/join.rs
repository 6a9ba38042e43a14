//! Another program in a running sandbox, with no more power than the first one has.
//!
//! ```text
//! caller ── fork ─> joiner ── fork, exec ─> program
//!                    user, network           PID and mount namespaces
//! ```
//!
//! The joiner stays outside of the sandbox's PID and mount namespaces, as the socket maker does, and is the
//! program's life: when its caller dies, both end. What the program leaves behind goes to PID 1.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{Pid, chdir, getpid, getppid};

use crate::blueprint::Processes;
use crate::channel::Channel;
use crate::error::{CaptureError, Failure, Step};
use crate::guard::{end_with_parent, untraceable};
use crate::message::Message;
use crate::namespaces::Namespaces;
use crate::plan::Program;
use crate::program::{HeldProgram, Tree};
use crate::sys::NoProcess;
use crate::{capability, descriptors, init, sys};

/// Holds a program back at the door of a sandbox. Environment and open files are the caller's; `folder` is
/// where it works, by the sandbox's own paths. The caller must have one thread and be the sandbox's user.
///
/// # Errors
/// [`CaptureError`]; nothing is left over then.
pub fn join(namespaces: &Namespaces, program: &Program, folder: &Path) -> Result<HeldProgram, CaptureError> {
    let name = program.argv.first().ok_or(CaptureError::NoProgram)?.to_string_lossy().into_owned();
    let (channel, theirs) = Channel::pair().map_err(|errno| Failure::new(Step::Fork, errno, "sockets"))?;
    let visit = Visit { namespaces, program, folder, caller: getpid() };
    let first = sys::spawn(|| visit.run(&theirs)).map_err(|reason| match reason {
        NoProcess::Threads(count) => CaptureError::Threads(count),
        NoProcess::Refused(errno) => Failure::new(Step::Fork, errno, "").into(),
    })?;
    drop(theirs);
    let tree = Tree::new(channel, first);
    match tree.receive(Step::Join)?.message {
        Message::Ready => Ok(HeldProgram::new(tree, name)),
        Message::Failed(failure) => Err(failure.into()),
        _ => Err(Failure::new(Step::HandOver, Errno::EPROTO, "").into()),
    }
}

/// A program on its way into a sandbox.
struct Visit<'a> {
    namespaces: &'a Namespaces,
    program: &'a Program,
    folder: &'a Path,
    caller: Pid,
}

impl Visit<'_> {
    /// The joiner's life; its exit code tells nothing.
    fn run(&self, caller: &Channel) -> i32 {
        let kept: Vec<BorrowedFd<'_>> = self.namespaces.descriptors().into_iter().chain([caller.as_fd()]).collect();
        descriptors::close_private(&kept);
        let ready = self.prepare().map_or_else(Message::Failed, |()| Message::Ready);
        if caller.send(&ready).is_err() || ready != Message::Ready || !init::is_told_to_go(caller) {
            return 1;
        }
        // It stands outside: the kernel ends nothing when the joiner ends.
        init::run_to_end(caller, Processes::Shared, || self.become_program(caller))
    }

    fn prepare(&self) -> Result<(), Failure> {
        sys::await_children();
        self.namespaces.enter_all_but_mounts()?;
        // After it: entering a user namespace undoes both.
        end_with_parent()?;
        untraceable()?;
        match getppid() == self.caller {
            true => Ok(()),
            false => Err(Failure::new(Step::Join, Errno::ESRCH, "the caller has ended")),
        }
    }

    /// Only comes back when it fails.
    fn become_program(&self, caller: &Channel) -> Errno {
        let arrived = self.namespaces.enter_mounts().and_then(|()| self.find_folder());
        let arrived = arrived.and_then(|()| capability::restrict());
        match arrived {
            Ok(()) => init::become_program(self.program, Processes::Shared, caller),
            Err(failure) => {
                let errno = Errno::from_raw(failure.errno);
                // If the caller is gone, nobody wants to know.
                let _ = caller.send(&Message::Failed(failure));
                errno
            }
        }
    }

    /// By its path, as the program itself would go there: what is hidden from it stays hidden.
    fn find_folder(&self) -> Result<(), Failure> {
        chdir(self.folder).map_err(|errno| Failure::new(Step::WorkingFolder, errno, self.folder.display().to_string()))
    }
}
