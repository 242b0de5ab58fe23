//! External balancers, with the real nginx and HAProxy: they follow replicas that are added, removed and killed, without losing a request.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::instance::{Instance, pid_of, text, wait_until};

/// Concurrent clients. Each sends one request after the other, over a new connection each time.
const CLIENTS: usize = 4;

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A kind of balancer: how it is configured, started, checked and reloaded.
struct Kind {
    main: &'static str,
    file: &'static str,
    program: &'static str,
    start: &'static [&'static str],
    external: &'static str,
    /// A line that makes its configuration invalid.
    bad: &'static str,
}

const NGINX: Kind = Kind {
    main: "pid nginx.pid;\nerror_log stderr;\ndaemon off;\nworker_processes 2;\nevents {}\nhttp {\n  access_log off;\n  client_body_temp_path tmp;\n  \
           proxy_temp_path tmp;\n  fastcgi_temp_path tmp;\n  uwsgi_temp_path tmp;\n  scgi_temp_path tmp;\n  include web.conf;\n  server {\n    \
           listen 127.0.0.1:PORT;\n    location / { proxy_pass http://web; proxy_http_version 1.1; proxy_set_header Connection \"\"; \
           proxy_next_upstream error timeout; }\n  }\n}\n",
    file: "web.conf",
    program: "nginx",
    start: &["-p", ".", "-c", "main"],
    external: "{format: nginx, file: web.conf, check: [nginx, -p, ., -c, main, -t], reload: [nginx, -p, ., -c, main, -s, reload], every: 300ms}",
    bad: "no_such_directive on;\n",
};

const HAPROXY: Kind = Kind {
    main: "defaults\n  mode http\n  timeout connect 2s\n  timeout client 30s\n  timeout server 30s\n  retries 3\n  option redispatch 1\n  \
           retry-on conn-failure empty-response\nfrontend f\n  bind 127.0.0.1:PORT\n  default_backend web\n",
    file: "web.cfg",
    program: "haproxy",
    start: &["-W", "-f", "main", "-f", "web.cfg", "-p", "haproxy.pid"],
    external: "{format: haproxy, file: web.cfg, check: [haproxy, -c, -f, main, -f, $(FILE)], reload: [sh, -c, kill -USR2 $(cat haproxy.pid)], every: 300ms}",
    bad: "no such section\n",
};

/// The balancer, until it is dropped.
struct Running(Child);

impl Running {
    fn start(instance: &Instance, kind: &Kind) -> Self {
        let log = fs::File::create(instance.path("balancer.log")).expect("the folder is writable");
        let mut command = Command::new(kind.program);
        command.args(kind.start).current_dir(instance.path(".")).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("it is open")).stderr(log);
        Self(command.spawn().expect("the tests need nginx and haproxy"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // On SIGTERM both end with their worker processes.
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let _ = self.0.wait();
    }
}

/// Clients that send requests until they are stopped.
struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<(u64, Vec<String>)>>,
}

impl Load {
    fn on(port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |_| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                let (mut answered, mut lost) = (0, Vec::new());
                while !stop.load(Ordering::Relaxed) {
                    match send_request(port) {
                        Ok(head) if head.starts_with("HTTP/1.1 200") => answered += 1,
                        Ok(head) => lost.push(head.lines().next().unwrap_or("nothing").to_owned()),
                        Err(error) => lost.push(error.to_string()),
                    }
                }
                (answered, lost)
            })
        };
        let clients = (0..CLIENTS).map(client).collect();
        Self { stop, clients }
    }

    /// How many requests were answered, and the errors of the others.
    fn end(self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let all = self.clients.into_iter().map(|client| client.join().expect("it does not panic"));
        all.fold((0, Vec::new()), |(sum, mut all), (answered, lost)| {
            all.extend(lost);
            (sum + answered, all)
        })
    }
}

fn send_request(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(REQUEST_TIMEOUT))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: web.test\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn condition(instance: &Instance) -> (String, String) {
    let service = instance.query(&["get", "service/web"]);
    let conditions = service["status"]["conditions"].as_array().expect("it has conditions").clone();
    let found = conditions.into_iter().find(|it| it["type"] == "External").expect("it has this one");
    let text = |field: &str| found[field].as_str().expect("a text").to_owned();
    (text("status"), text("message"))
}

/// The servers in the file of the balancer that get requests; none while another one drains.
fn servers(file: &Path) -> usize {
    let text = fs::read_to_string(file).unwrap_or_default();
    let lines = text.lines().filter(|line| line.trim_start().starts_with("server "));
    let servers: Vec<&str> = lines.collect();
    let gets = |line: &&str| !line.ends_with("down;") && !line.ends_with("weight 0");
    if servers.iter().all(gets) { servers.len() } else { 0 }
}

fn follows_changes_without_losing_a_request(kind: &Kind) {
    let mut instance = Instance::new();
    let port = ports::free();
    let main = kind.main.replace("PORT", &port.to_string());
    instance.write("main", &main);
    let more = |version: &str| {
        format!(
            "  scale: {{replicas: 3}}\n  stop: {{drain: 30s}}\n  resources: {{memory: {version}Mi}}\n  expose: {{port: http, external: [{}]}}\n",
            kind.external
        )
    };
    let manifest = instance.write_service("web", &more("512"));
    instance.up(&["-f", text(&manifest)]);
    let first = instance.wait_for_ready("web", 3);
    let file = instance.path(kind.file);
    wait_until("the file has all replicas", || (servers(&file) == 3).then_some(()));
    let balancer = Running::start(&instance, kind);
    wait_until("the balancer answers", || send_request(port).is_ok().then_some(()));
    wait_until("it has been reloaded", || (condition(&instance).0 == "True").then_some(()));
    let load = Load::on(port);

    // Killed, and replaced.
    kill_process(pid_of(&first["web-0"]), Signal::KILL).expect("it runs");
    wait_until("another is in its place", || {
        let now = instance.replicas("web");
        (now["web-0"]["ready"] == true && now["web-0"]["pid"] != first["web-0"]["pid"]).then_some(())
    });
    // More, and fewer.
    assert_eq!(instance.run(&["scale", "service/web", "--replicas", "5"]).code, Some(0));
    instance.wait_for_ready("web", 5);
    wait_until("the file has five", || (servers(&file) == 5).then_some(()));
    assert_eq!(instance.run(&["scale", "service/web", "--replicas", "2"]).code, Some(0));
    instance.wait_for_ready("web", 2);
    // Each replaced by one of a new version.
    let pids =
        |of: &Instance| of.replicas("web").values().map(|it| it["pid"].clone()).collect::<Vec<Value>>();
    let before = pids(&instance);
    let manifest = instance.write_service("web", &more("600"));
    assert_eq!(instance.run(&["apply", "-f", text(&manifest)]).code, Some(0));
    wait_until("all are new", || {
        let now = instance.wait_for_ready("web", 2);
        now.values().all(|it| !before.contains(&it["pid"])).then_some(())
    });
    let (answered, lost) = load.end();
    assert_eq!(lost, [""; 0], "of {answered}");
    assert!(answered > 100, "{answered}");

    // A configuration that the balancer refuses is reported, and changes nothing.
    wait_until("both serve", || (condition(&instance).0 == "True" && servers(&file) == 2).then_some(()));
    let (good, broken) = (fs::read_to_string(&file).unwrap(), main.clone() + kind.bad);
    instance.write("main", &broken);
    assert_eq!(instance.run(&["scale", "service/web", "--replicas", "3"]).code, Some(0));
    let (_, message) = wait_until("it fails", || Some(condition(&instance)).filter(|it| it.0 == "False"));
    assert!(message.contains("refused the new content") && message.contains("stays in force"), "{message}");
    wait_until("the file is as it was", || (fs::read_to_string(&file).unwrap() == good).then_some(()));
    assert!(send_request(port).expect("it answers").starts_with("HTTP/1.1 200"));
    instance.write("main", &main);
    wait_until("it is retried", || (condition(&instance).0 == "True" && servers(&file) == 3).then_some(()));
    let events = instance.run(&["events", "service/web"]).out;
    assert!(events.contains("BalancerFailed") && events.contains("BalancerReloaded"), "{events}");
    let (_, metrics) = instance.get_api("/metrics");
    assert!(metrics.contains("homeostat_external_reloads_total{service=\"web\""), "{metrics}");

    // The balancer is left as it is when Homeostat is killed, and when it is started again.
    let kept = fs::read_to_string(&file).unwrap();
    let load = Load::on(port);
    instance.end(Signal::KILL);
    assert_eq!(fs::read_to_string(&file).unwrap(), kept);
    instance.up(&[]);
    instance.wait_for_ready("web", 3);
    wait_until("the balancer is configured again", || (condition(&instance).0 == "True").then_some(()));
    let (answered, lost) = load.end();
    assert_eq!((lost, fs::read_to_string(&file).unwrap()), (Vec::new(), kept), "of {answered}");

    instance.end(Signal::INT);
    assert_eq!(servers(&file), 0, "the ports may soon be somebody else's");
    drop(balancer);
}

#[test]
fn nginx_follows_changes_without_losing_a_request() {
    follows_changes_without_losing_a_request(&NGINX);
}

#[test]
fn haproxy_follows_changes_without_losing_a_request() {
    follows_changes_without_losing_a_request(&HAPROXY);
}

#[test]
fn a_reload_that_fails_is_logged_once() {
    let mut instance = Instance::new();
    let external = r#"{format: nginx, file: web.conf, check: ["true"], reload: ["false"], every: 100ms}"#;
    let more = format!("  expose: {{port: http, external: [{external}]}}\n");
    let manifest = instance.write_service("web", &more);
    instance.up(&["-f", text(&manifest)]);
    let log =
        wait_until("it is reported", || Some(instance.log()).filter(|log| log.contains("BalancerFailed")));
    assert_eq!(log.matches("could not reload nginx").count(), 1, "{log}");
}
