//! Real servers, Redis and PostgreSQL, for one test.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use nix::unistd::{Uid, User};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// What both servers ask for.
pub(crate) const PASSWORD: &str = "open sesame";

/// The user that PostgreSQL knows.
pub(crate) const USER: &str = "owner";

/// A server, its folder, and where it answers.
pub(crate) struct Server {
    process: Child,
    folder: TempDir,
    /// Where it answers; Redis without TLS.
    pub(crate) port: u16,
    /// Where Redis speaks TLS.
    pub(crate) tls_port: u16,
}

impl Server {
    pub(crate) fn redis() -> Self {
        let folder = folder();
        let (certificate, key) = identity(folder.path());
        let (port, tls_port) = (ports::free(), ports::free());
        let mut command = Command::new("redis-server");
        command.args([
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--requirepass",
            PASSWORD,
            "--tls-auth-clients",
            "no",
        ]);
        command.args(["--port", &port.to_string(), "--tls-port", &tls_port.to_string()]);
        command.arg("--tls-cert-file").arg(&certificate).arg("--tls-ca-cert-file").arg(&certificate);
        command.arg("--tls-key-file").arg(key).arg("--dir").arg(folder.path());
        let it = Self { process: spawn(command), folder, port, tls_port };
        it.wait_until_it_answers(|| it.ask(&["PING"]));
        it
    }

    pub(crate) fn postgres() -> Self {
        let folder = folder();
        let (certificate, key) = identity(folder.path());
        let (data, word) = (folder.path().join("data"), folder.path().join("word"));
        fs::write(&word, PASSWORD).unwrap();
        give_away(&[folder.path(), &certificate, &key, &word]);
        let mut initdb = Command::new(of_postgres("initdb"));
        initdb.args(["--no-sync", "--auth=scram-sha-256", "--encoding=UTF8", "--username", USER]);
        initdb.arg("--pwfile").arg(word).arg("--pgdata").arg(&data);
        let made = unprivileged_command(&mut initdb).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        let port = ports::free();
        let mut command = Command::new(of_postgres("postgres"));
        command.arg("-D").arg(data).args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
        command.args(["-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "ssl=on"]);
        command.arg("-c").arg(format!("ssl_cert_file={}", certificate.display()));
        command.arg("-c").arg(format!("ssl_key_file={}", key.display()));
        unprivileged_command(&mut command);
        let it = Self { process: spawn(command), folder, port, tls_port: port };
        it.wait_until_it_answers(|| it.query("select 1"));
        it
    }

    /// Lets a Redis carry out a command.
    pub(crate) fn ask(&self, command: &[&str]) -> Output {
        let mut client = Command::new("redis-cli");
        client.env("REDISCLI_AUTH", PASSWORD).args(["-e", "-p", &self.port.to_string()]).args(command);
        client.output().unwrap()
    }

    /// Lets a PostgreSQL carry out a query.
    pub(crate) fn query(&self, query: &str) -> Output {
        let mut client = Command::new("psql");
        client.env("PGPASSWORD", PASSWORD).args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        client.args(["-U", USER, "-d", "postgres", "-qtAc", query]).output().unwrap()
    }

    fn wait_until_it_answers(&self, ask: impl Fn() -> Output) {
        // Each try is a program that runs to its end. A machine with much to do starts PostgreSQL in ten seconds.
        let answer = (0..3000).map(|_| ask()).find(|answer| answer.status.success());
        assert!(answer.is_some(), "the server does not begin to answer");
    }

    /// The file with its self-signed certificate.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    /// Writes a file beside its data.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let file = self.folder.path().join(name);
        fs::write(&file, text).unwrap();
        file
    }

    /// Makes it accept connections without answers.
    pub(crate) fn hang(&self) {
        self.signal(Signal::STOP);
        // The process stops when it is scheduled next, and may answer until then.
        let stat = format!("/proc/{}/stat", self.process.id());
        let is_stopped =
            || fs::read_to_string(&stat).unwrap().rsplit_once(") ").is_some_and(|it| it.1.starts_with('T'));
        let has_stopped = (0..30_000).any(|_| {
            // tidy: pause between looks
            sleep(Duration::from_millis(1));
            is_stopped()
        });
        assert!(has_stopped, "the server still runs");
    }

    /// Continues it after a stop signal.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // PostgreSQL's own processes end when their parent has.
        let _ = self.process.kill().and_then(|()| self.process.wait());
    }
}

fn spawn(mut command: Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("the servers are installed; `cargo xtask test` sees to it")
}

/// A folder that others may look into.
fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// A self-signed certificate for localhost and 127.0.0.1, and its key.
fn identity(folder: &Path) -> (PathBuf, PathBuf) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    fs::write(&certificate, cert.pem()).unwrap();
    fs::write(&key, signing_key.serialize_pem()).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    (certificate, key)
}

/// A program of PostgreSQL, which Debian keeps beside its version and not on `PATH`.
fn of_postgres(program: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = versions.map(|version| version.path().join("bin").join(program)).find(|path| path.is_file());
    found.unwrap_or_else(|| program.into())
}

/// The user that PostgreSQL runs as: it refuses to be root.
fn unprivileged() -> Option<User> {
    let is_root = Uid::effective().is_root();
    is_root.then(|| User::from_name("postgres").unwrap().expect("the package makes the user postgres"))
}

fn unprivileged_command(command: &mut Command) -> &mut Command {
    match unprivileged() {
        Some(user) => command.uid(user.uid.as_raw()).gid(user.gid.as_raw()).current_dir("/"),
        None => command,
    }
}

fn give_away(paths: &[&Path]) {
    let Some(user) = unprivileged() else { return };
    for path in paths {
        chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    }
}
