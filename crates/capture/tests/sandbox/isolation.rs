//! What a program can't do, as an ordinary user and as root.

use std::io::Read;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use nix::unistd::geteuid;
use weft_capture::{Ended, RunAs, Sandbox};

use crate::rig::{Scene, receive_query, wait_until};

pub(crate) const ALL: &[(&str, fn())] = &[
    ("a_program_has_no_power_over_its_sandbox", no_power),
    ("a_program_sees_its_own_processes_only", own_processes),
    ("a_hidden_folder_is_empty", hidden_folder),
    ("the_hosts_loopback_is_out_of_reach", host_loopback),
    ("root_finds_the_kernels_settings_read_only", root_finds_read_only),
    ("root_keeps_what_daemons_need", root_keeps),
    ("root_without_power_over_the_host_is_caged_too", lesser_root),
    ("another_user_is_a_real_boundary", another_user),
    ("nscd_is_not_asked", no_nscd),
];

fn no_power() {
    let (ended, output) = Scene::python(NO_POWER, &[]).run();
    assert_eq!(ended, Ended::Code(0), "{output}");
    assert_no_power(&output);
}

/// What a program that tried [`NO_POWER`] must have said.
pub(crate) fn assert_no_power(output: &str) {
    assert!(!output.contains("ALLOWED"), "{output}");
    assert!(output.matches("refused").count() >= 13, "{output}");
    let caps = output.lines().find_map(|line| line.strip_prefix("caps ")).unwrap();
    let expected = if geteuid().is_root() { "00000000a00405fb" } else { "0000000000000000" };
    // {chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap, net_bind_service, sys_chroot, audit_write, setfcap}
    assert_eq!(caps.split(' ').next(), Some(expected), "{output}");
    assert!(caps.ends_with("0000000000000000 0000000000000000"), "{output}");
}

/// Started by root, with that user's ids and nothing of root's left, also for files that would give it back.
fn another_user() {
    if !geteuid().is_root() {
        assert!(RunAs::find("nobody").unwrap_err().contains("root"));
        return;
    }
    assert!(RunAs::find("no-such-user").unwrap_err().contains("found \"no-such-user\""));
    let code = "
import os
status = dict(l.split(':\\t', 1) for l in open('/proc/self/status').read().splitlines() if ':\\t' in l)
print('ids', os.getresuid(), os.getresgid(), os.getgroups())
print('caps', *(status[name] for name in ('CapEff', 'CapPrm', 'CapInh', 'CapBnd', 'CapAmb')))
print('env', os.environ['USER'], os.environ['LOGNAME'], os.environ['HOME'], '.')
def refused(what, attempt):
    try: attempt(); print('ALLOWED', what)
    except OSError: print('refused', what)
refused('setuid', lambda: os.setuid(0))
refused('signal PID 1', lambda: os.kill(1, 9))
refused('core_pattern', lambda: open('/proc/sys/kernel/core_pattern', 'w'))
refused('shadow', lambda: open('/etc/shadow'))
refused('chown', lambda: os.chown('/etc/hostname', os.getuid(), -1))
";
    let mut scene = Scene::new(&[]);
    let script = "exec \"$@\"";
    scene.plan.program.argv = ["/bin/sh", "-c", script, "sh", "/usr/bin/python3", "-c", code].map(Into::into).to_vec();
    // The program's own user can't write into the scene's folder: its output is the launcher's open file.
    let output = std::fs::File::create(scene.path("output")).unwrap();
    nix::unistd::dup2_stdout(&output).unwrap();
    nix::unistd::dup2_stderr(&output).unwrap();
    scene.plan.program.user = Some(RunAs::find("nobody").unwrap());
    let ended = scene.prepare().program.start().unwrap().wait().unwrap();
    let output = scene.output();
    assert_eq!(ended, Ended::Code(0), "{output}");
    let ids = "ids (65534, 65534, 65534) (65534, 65534, 65534) [65534]";
    let none = "0000000000000000";
    assert!(output.contains(ids) && output.contains(&format!("caps {none} {none} {none} {none} {none}")), "{output}");
    assert!(output.contains("env nobody nobody /nonexistent ") && !output.contains("ALLOWED"), "{output}");
    assert_eq!(output.matches("refused").count(), 5, "{output}");
}

/// Tries to get at its sandbox, and says what was refused.
pub(crate) const NO_POWER: &str = "
import ctypes, os, socket, struct
libc = ctypes.CDLL(None, use_errno=True)
status = dict(l.split(':\\t', 1) for l in open('/proc/self/status').read().splitlines() if ':\\t' in l)
print('caps', status['CapEff'], status['CapPrm'], status['CapInh'], status['CapAmb'])
def refused(what, result): print('refused' if result else 'ALLOWED', what)
refused('umount resolv.conf', libc.umount2(os.path.realpath('/etc/resolv.conf').encode(), 2))
refused('umount proc', libc.umount2(b'/proc', 2))
refused('mount', libc.mount(b'x', b'/tmp', b'tmpfs', 0, None))
def netlink(protocol, *requests):
    s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol); s.bind((0, 0)); s.settimeout(3)
    s.send(b''.join(struct.pack('IHHII', 16 + len(body), kind, 5, 1, 0) + body for kind, body in requests))
    return struct.unpack('i', s.recv(4096)[16:20])[0]
def lo_down(): return netlink(0, (16, struct.pack('BxHiII', 0, 0, 1, 0, 1)))
def delete_table():
    edge = struct.pack('>BBH', 0, 0, 10)
    return netlink(12, (16, edge), (0xa02, b'\\1\\0\\0\\0' + struct.pack('HH', 9, 1) + b'weft\\0\\0\\0\\0'), (17, edge))
refused('lo down', lo_down())
refused('no lo up either', netlink(0, (16, struct.pack('BxHiII', 0, 0, 1, 1, 1))))
refused('delete table', delete_table())
try: open('/proc/sys/net/ipv4/ip_unprivileged_port_start', 'w').write('1024'); print('ALLOWED sysctl')
except OSError: print('refused sysctl')
pid = 1
refused('trace PID 1', libc.ptrace(16, pid, 0, 0))
for name in ('environ', 'mem', 'ns/net', 'root', 'fd/0'):
    try: os.stat('/proc/1/%s' % name); open('/proc/1/%s' % name).read(1); print('ALLOWED PID 1', name)
    except OSError: print('refused PID 1', name)
if libc.unshare(0x10000000 | 0x20000) == 0:
    refused('nested umount', libc.umount2(os.path.realpath('/etc/resolv.conf').encode(), 2))
    refused('nested umount proc', libc.umount2(b'/proc', 2))
    refused('nested lo down', lo_down())
    refused('nested delete table', delete_table())
";

fn own_processes() {
    let code =
        "import os; print(sorted(int(p) for p in os.listdir('/proc') if p.isdigit()), os.getpid(), os.getppid())";
    let (ended, output) = Scene::python(code, &[]).run();
    // Sandboxes share folders in which files are named after PIDs.
    let counts_on = Path::new("/proc/sys/kernel/ns_last_pid").exists();
    let pid = if counts_on { std::process::id() + 1 } else { 2 };
    assert_eq!((ended, output), (Ended::Code(0), format!("[1, {pid}] {pid} 1\n")));
}

/// Neither by its path, nor by a link, nor as the folder where the program begins.
fn hidden_folder() {
    let hidden = tempfile::tempdir().unwrap();
    std::fs::create_dir(hidden.path().join("sub")).unwrap();
    std::fs::write(hidden.path().join("key"), "secret").unwrap();
    let code = "
import os, sys
print(os.listdir(sys.argv[1]), os.listdir('.'), os.path.exists('../key'), os.access(sys.argv[1], os.W_OK))
";
    let mut scene = Scene::python(code, &[hidden.path().to_str().unwrap()]);
    let link = scene.path("link");
    std::os::unix::fs::symlink(hidden.path(), &link).unwrap();
    scene.plan.hide = vec![link, "/nonexistent/folder".into()];
    std::env::set_current_dir(hidden.path().join("sub")).unwrap();
    let (ended, output) = scene.run();
    assert_eq!((ended, output.as_str()), (Ended::Code(0), "[] [] False True\n"));
    assert_eq!(std::fs::read_to_string(hidden.path().join("key")).unwrap(), "secret");
}

fn host_loopback() {
    let host = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = host.local_addr().unwrap().port().to_string();
    let code = "
import socket, sys
try: socket.create_connection(('127.0.0.1', int(sys.argv[1])), 3); print('ALLOWED')
except ConnectionRefusedError: print('refused')
print(sorted(n for i, n in socket.if_nameindex()))
";
    let (ended, output) = Scene::python(code, &[&port]).run();
    assert_eq!((ended, output.as_str()), (Ended::Code(0), "refused\n['lo']\n"));
    host.set_nonblocking(true).unwrap();
    assert!(host.accept().is_err());
}

fn root_finds_read_only() {
    if !geteuid().is_root() {
        return;
    }
    let before = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let code = "
import os
for path in ('/proc/sys/kernel/core_pattern', '/proc/sysrq-trigger', '/sys/kernel/uevent_helper', '/sys/power/state', '/sys/fs/cgroup/cgroup.procs'):
    if os.path.exists(path):
        try: os.close(os.open(path, os.O_WRONLY)); print('ALLOWED', path)
        except OSError as e: print('refused', e.strerror)
print(sorted(os.listdir('/dev')))
open('/dev/null', 'w').write('x')
";
    let (ended, output) = Scene::python(code, &[]).run();
    assert_eq!(ended, Ended::Code(0), "{output}");
    assert!(!output.contains("ALLOWED") && output.contains("refused Read-only file system"), "{output}");
    let devices = output.lines().last().unwrap();
    assert!(devices.contains("'null'") && devices.contains("'pts'"), "{output}");
    assert!(!devices.contains("'vda'") && !devices.contains("'sda'") && !devices.contains("'mem'"), "{output}");
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(), before);
}

/// A server that binds port 80 and then becomes another user, and `chown`.
fn root_keeps() {
    if !geteuid().is_root() {
        return;
    }
    let code = "
import os, socket, sys
s = socket.create_server(('0.0.0.0', 80))
open(sys.argv[1], 'w').close(); os.chown(sys.argv[1], 65534, 65534)
os.setgroups([]); os.setgid(65534); os.setuid(65534)
print(os.getuid(), os.stat(sys.argv[1]).st_uid, open('/proc/self/status').read().split('CapEff:')[1].split()[0])
";
    let folder = tempfile::tempdir().unwrap();
    let scene = Scene::python(code, &[folder.path().join("file").to_str().unwrap()]);
    let (ended, output) = scene.run();
    assert_eq!((ended, output.as_str()), (Ended::Code(0), "65534 65534 0000000000000000\n"));
    let mut text = String::new();
    std::fs::File::open("/etc/resolv.conf").unwrap().read_to_string(&mut text).unwrap();
    assert!(!text.contains(crate::rig::NAMESERVER), "the host's own file was covered");
}

/// As in a container: user 0, but without CAP_SYS_ADMIN, so that it needs a user namespace.
fn lesser_root() {
    if !geteuid().is_root() {
        return;
    }
    for name in ["a_program_has_no_power_over_its_sandbox", "root_finds_the_kernels_settings_read_only"] {
        let exe = std::env::current_exe().unwrap();
        let drop = ["--bounding-set=-sys_admin", "--inh-caps=-sys_admin"];
        let output = Command::new("setpriv").args(drop).arg(exe).args(["--case", name]).output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// In a `/run` of this test's own, so that the host's programs don't see the false nscd.
fn no_nscd() {
    if !geteuid().is_root() {
        return;
    }
    let exe = std::env::current_exe().unwrap();
    let script = format!("mount -t tmpfs none /run && mkdir /run/nscd && exec {} --case {FALSE_NSCD}", exe.display());
    let output = Command::new("unshare").args(["-m", "sh", "-c", &script]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

pub(crate) fn false_nscd() {
    let nscd = UnixListener::bind("/run/nscd/socket").unwrap();
    nscd.set_nonblocking(true).unwrap();
    // The control: outside of a sandbox it is asked.
    let mut getent = Command::new("getent").args(["hosts", "payments"]).spawn().unwrap();
    wait_until("nscd is asked", || nscd.accept().is_ok());
    getent.kill().unwrap();
    getent.wait().unwrap();
    while nscd.accept().is_ok() {}

    let scene = Scene::new(&["getent", "hosts", "payments"]);
    let Sandbox { dns, program, .. } = scene.prepare();
    let _program = program.start().unwrap();
    receive_query(&dns);
    assert!(nscd.accept().is_err());
}

/// A case that only [`no_nscd`] runs.
pub(crate) const FALSE_NSCD: &str = "false_nscd";
