//! A running Homeostat for each test: its folder, its process, and the cleanup of all processes that it has started.

use std::collections::BTreeMap;
use std::fs::{self, DirEntry, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::replica;

/// Longest wait for a condition. 60 s: it takes a second on an idle machine, but machines of CI are busy.
const DEADLINE: Duration = Duration::from_secs(60);

/// Interval between checks of a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The environment variable that marks every replica of an instance, so that all are found and killed at the end of the test.
const MARK: &str = "HOMEOSTAT_TEST_INSTANCE";

/// The arguments that start it, on a free port.
const UP: [&str; 5] = ["up", "--data", "data", "--listen", "127.0.0.1:0"];

/// A folder, and the `homeostat up` that runs in it.
pub(crate) struct Instance {
    folder: TempDir,
    up: Option<Child>,
    /// The process that is being replaced by `up`.
    before: Option<Child>,
    server: String,
    /// The socket of a service manager.
    manager: Option<PathBuf>,
    starts: usize,
}

/// The output and the exit code of a command.
#[derive(Debug)]
pub(crate) struct CommandOutput {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl CommandOutput {
    /// Standard output as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }
}

impl Instance {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        Self { folder, up: None, before: None, server: String::new(), manager: None, starts: 0 }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file and returns its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect("the folder is writable");
        path
    }

    /// Writes the manifest of a service whose replicas serve HTTP; `more` is further lines of its spec.
    pub(crate) fn write_service(&self, name: &str, more: &str) -> PathBuf {
        let program = std::env::current_exe().expect("this program has a path");
        let arguments: Vec<String> =
            replica::ARGUMENTS.iter().map(|argument| format!("{argument:?}")).collect();
        let text = format!(
            "apiVersion: homeostat/v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  run:\n    \
             command: [{:?}, {}]\n    env: {{{}: \"$(PORT_HTTP)\", {}}}\n  ports: [{{name: http, protocol: http}}]\n  \
             probes: {{readiness: {{http: {{path: /}}, every: 100ms, timeout: 5s}}}}\n{more}",
            program.display().to_string(),
            arguments.join(", "),
            replica::PORT,
            self.mark(),
        );
        self.write(&format!("{name}.yaml"), &text)
    }

    /// The mark of the instance, as a line of a manifest's environment.
    pub(crate) fn mark(&self) -> String {
        format!("{MARK}: {:?}", self.folder.path().display().to_string())
    }

    /// A command of the binary against this instance.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_homeostat"));
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        command.env_remove("HOMEOSTAT_LOG").env("HOMEOSTAT_SERVER", &self.server);
        match &self.manager {
            Some(socket) => command.env("NOTIFY_SOCKET", socket),
            None => command.env_remove("NOTIFY_SOCKET"),
        };
        command
    }

    /// Runs the binary to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> CommandOutput {
        let output = self.command(arguments).output().expect("the binary was built");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the output is UTF-8");
        CommandOutput { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// The JSON output of a command, which must succeed.
    pub(crate) fn query(&self, arguments: &[&str]) -> Value {
        let result = self.run(&[arguments, &["-o", "json"]].concat());
        assert_eq!(result.code, Some(0), "{arguments:?}: {result:?}");
        result.json()
    }

    /// Every process started from now on notifies the service manager at this socket.
    pub(crate) fn set_service_manager(&mut self, socket: &Path) {
        self.manager = Some(socket.to_owned());
    }

    /// Starts `homeostat up` with these arguments, on a free port, and waits until it answers.
    pub(crate) fn up(&mut self, arguments: &[&str]) {
        let command = self.command(&[&UP, arguments].concat());
        self.begin(command);
    }

    /// Starts another `homeostat up` that replaces the running one, and waits until it answers.
    pub(crate) fn take_over(&mut self, arguments: &[&str]) {
        self.begin_take_over(arguments);
        self.wait_until_up();
    }

    /// Starts another `homeostat up` that is to replace the running one, if there is one.
    pub(crate) fn begin_take_over(&mut self, arguments: &[&str]) {
        assert!(self.before.is_none(), "the predecessor still runs");
        self.before = self.up.take();
        let command = self.command(&[&UP, ["--take-over"].as_slice(), arguments].concat());
        self.spawn(command);
    }

    /// The predecessor, after [`Self::take_over`].
    pub(crate) fn before(&self) -> Pid {
        Pid::from_child(self.before.as_ref().expect("there is a predecessor"))
    }

    /// Makes the predecessor the running process again, after its successor has ended.
    pub(crate) fn resume_before(&mut self) {
        assert!(self.up.is_none(), "the successor still runs");
        self.up = self.before.take();
    }

    /// Waits until the predecessor has exited without an error.
    pub(crate) fn wait_until_left(&mut self) {
        let mut before = self.before.take().expect("there is a predecessor");
        let ended = wait_until("the predecessor has ended", || before.try_wait().expect("it is a child"));
        assert_eq!(ended.code(), Some(0), "{}", self.log());
    }

    /// As [`Self::up`], with its data on a disk of so many bytes in a mount namespace of the process.
    ///
    /// Returns the path under which this process reaches that disk; `None` when the system grants no mount namespace.
    pub(crate) fn up_on_small_disk(&mut self, bytes: u64, arguments: &[&str]) -> Option<PathBuf> {
        let data = self.path("data");
        fs::create_dir(&data).expect("the folder is writable");
        // Only root can mount without a user namespace.
        let unshare = ["-m", "-rm"].into_iter().find(|flags| {
            let mut mount = Command::new("unshare");
            mount.args([*flags, "mount", "-t", "tmpfs", "none", text(&data)]).stderr(Stdio::null());
            mount.status().is_ok_and(|status| status.success())
        })?;
        let plain = self.command(&[&UP, arguments].concat());
        let mut command = Command::new("unshare");
        let script = format!("mount -t tmpfs -o size={bytes} none data && exec \"$0\" \"$@\"");
        command.args([unshare, "sh", "-c", &script]).arg(plain.get_program()).args(plain.get_args());
        command.current_dir(self.folder.path()).stdin(Stdio::null()).env_remove("HOMEOSTAT_LOG");
        self.begin(command);
        // The root of another process, with its mounts, is reachable through /proc.
        Some(PathBuf::from(format!("/proc/{}/root{}", self.pid(), text(&data))))
    }

    /// As [`Self::up`], on the small disk of the instance before, which `replica` still has mounted.
    pub(crate) fn up_again_on_small_disk(&mut self, replica: Pid) {
        let command = self.up_on_disk_of(replica);
        self.begin(command);
    }

    /// `homeostat up` on the small disk that `replica` has mounted.
    pub(crate) fn up_on_disk_of(&self, replica: Pid) -> Command {
        let user = if rustix::process::geteuid().is_root() { "--mount" } else { "--user" };
        let plain = self.command(&UP);
        let mut command = Command::new("nsenter");
        command.args([
            "--target",
            &replica.as_raw_nonzero().to_string(),
            "--mount",
            user,
            "--preserve-credentials",
        ]);
        // nsenter begins in the root of that namespace.
        command.args(["sh", "-c", "cd \"$0\" && exec \"$@\""]).arg(self.folder.path());
        command.arg(plain.get_program()).args(plain.get_args());
        command.stdin(Stdio::null()).env_remove("HOMEOSTAT_LOG");
        command
    }

    fn begin(&mut self, command: Command) {
        self.spawn(command);
        self.wait_until_up();
    }

    fn spawn(&mut self, mut command: Command) {
        assert!(self.up.is_none(), "it is up already");
        self.starts += 1;
        let log = File::create(self.latest_log()).expect("the folder is writable");
        self.up = Some(command.stderr(log).stdout(Stdio::null()).spawn().expect("the binary was built"));
    }

    fn latest_log(&self) -> PathBuf {
        self.path(&format!("up-{}.err", self.starts))
    }

    /// Waits until the `homeostat up` that was started last answers.
    pub(crate) fn wait_until_up(&mut self) {
        let log = self.latest_log();
        self.server = wait_until("homeostat logs the address of its API", || {
            let text = fs::read_to_string(&log).expect("it exists");
            let up = self.up.as_mut().expect("it was started");
            assert!(up.try_wait().expect("it is a child").is_none(), "up ended by itself: {text}");
            let (_, after) = text.split_once("api=")?;
            after.split_once(' ').map(|(address, _)| address.to_owned())
        });
    }

    /// The logs of all starts of `homeostat up`.
    pub(crate) fn log(&self) -> String {
        let paths = (1..=self.starts).map(|start| self.path(&format!("up-{start}.err")));
        paths.map(|path| fs::read_to_string(path).expect("it exists")).collect()
    }

    /// The status and the body at a path of the API.
    pub(crate) fn get_api(&self, path: &str) -> (u16, String) {
        let config = ureq::Agent::config_builder().timeout_global(Some(DEADLINE)).http_status_as_error(false);
        let agent: ureq::Agent = config.build().into();
        let mut response = agent.get(format!("{}{path}", self.server)).call().expect("it responds");
        (response.status().as_u16(), response.body_mut().read_to_string().expect("the body is text"))
    }

    /// The process id of `homeostat up`.
    pub(crate) fn pid(&self) -> u32 {
        self.up.as_ref().expect("it is up").id()
    }

    /// Sends a signal to `homeostat up`.
    pub(crate) fn signal(&self, signal: Signal) {
        let up = self.up.as_ref().expect("it is up");
        kill_process(Pid::from_child(up), signal).expect("it runs");
    }

    /// Sends a signal to `homeostat up` and waits for its end.
    pub(crate) fn end(&mut self, signal: Signal) -> ExitStatus {
        self.signal(signal);
        self.ended()
    }

    /// Waits for the end of `homeostat up`.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let mut up = self.up.take().expect("it is up");
        wait_until("homeostat ends", || up.try_wait().expect("it is a child"))
    }

    /// Waits until so many replicas of a service are ready, and returns all of its replicas by name.
    pub(crate) fn wait_for_ready(&self, service: &str, ready: usize) -> BTreeMap<String, Value> {
        wait_until(&format!("{ready} replicas of {service} are ready"), || {
            let found = self.replicas(service);
            let is_ready = |status: &&Value| status["ready"] == true;
            (found.len() == ready && found.values().filter(is_ready).count() == ready).then_some(found)
        })
    }

    /// The status of each replica of a service, by name.
    pub(crate) fn replicas(&self, service: &str) -> BTreeMap<String, Value> {
        let list = self.query(&["get", "replicas", "--service", service]);
        let items = list["items"].as_array().expect("a list has items");
        let name = |item: &Value| item["metadata"]["name"].as_str().expect("a name").to_owned();
        items.iter().map(|item| (name(item), item["status"].clone())).collect()
    }

    /// The running processes with the mark of the instance.
    pub(crate) fn processes(&self) -> Vec<Pid> {
        let mark = format!("{MARK}={}", self.folder.path().display());
        let has_mark = |process: &DirEntry| {
            let environment = fs::read(process.path().join("environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
        };
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten().filter(has_mark);
        entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)).collect()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        for mut up in self.up.take().into_iter().chain(self.before.take()) {
            // The test has failed or has left it running: no orderly shutdown is needed.
            let _ = up.kill();
            let _ = up.wait();
        }
        for pid in self.processes() {
            // Fails when it has ended already.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// Polls until `check` returns a value; panics after the deadline.
pub(crate) fn wait_until<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let begun = os::since_boot();
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(os::since_boot() - begun < DEADLINE, "not within {} s: {what}", DEADLINE.as_secs());
        // tidy: pause between looks
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// The process id in the status of a replica.
pub(crate) fn pid_of(status: &Value) -> Pid {
    let pid = status["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    pid.unwrap_or_else(|| panic!("no process in {status}"))
}

pub(crate) fn is_running(pid: Pid) -> bool {
    test_kill_process(pid).is_ok()
}

/// The body of the response at `url`.
pub(crate) fn get(url: &str) -> Result<String, ureq::Error> {
    let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(DEADLINE)).build().into();
    agent.get(url).call()?.body_mut().read_to_string()
}

/// A path as text.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary folder has a plain name")
}
