//! The one place of the program that needs `unsafe`: asking the kernel, between fork and exec, to send the server SIGINT
//! (PostgreSQL's fast shutdown) when the thread that starts it ends. It must do nothing else.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{getpid, getppid};

/// Ties the process that `command` starts to the life of the calling thread (not the process: prctl(2), PR_SET_PDEATHSIG).
pub(super) fn tie_to_this_thread(command: &mut Command) {
    let parent = getpid();
    let tie = move || -> io::Result<()> {
        prctl::set_pdeathsig(Signal::SIGINT)?;
        // We may have died before the request above; then nobody would ever send the signal.
        if getppid() != parent { Err(io::Error::from(Errno::ESRCH)) } else { Ok(()) }
    };
    #[expect(
        unsafe_code,
        reason = "the closure makes two system calls, allocates nothing and takes no lock, which is what pre_exec demands"
    )]
    unsafe {
        command.pre_exec(tie);
    }
}
