//! nginx and HAProxy as reverse proxies, with the settings that serve them best.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::Context;
use procfs::process::Process;
use rustix::process::{Pid, Signal, kill_process};

use super::backend::wait_for;
use crate::instance;

pub(super) const NGINX: &str = "/usr/sbin/nginx";
pub(super) const HAPROXY: &str = "/usr/sbin/haproxy";

/// How long a peer may take to stop.
const END_WAIT_MAX: Duration = Duration::from_secs(10);

/// A kind of peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Nginx,
    Haproxy,
}

/// The protocol of clients without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientProtocol {
    Http1,
    /// HTTP/2 without negotiation.
    Http2,
}

/// How a peer chooses among backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    RoundRobin,
    LeastConnections,
}

/// The task of a peer.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) kind: Kind,
    /// The address where it listens without TLS.
    pub(super) plain: SocketAddr,
    /// The protocol there.
    pub(super) protocol: ClientProtocol,
    /// The address where it speaks TLS, with HTTP/2 for clients that negotiate it, and the file with certificate and key.
    pub(super) secure: Option<(SocketAddr, PathBuf)>,
    pub(super) backends: Vec<SocketAddr>,
    pub(super) choice: Choice,
}

/// A running peer. Stopped when dropped.
#[derive(Debug)]
pub(super) struct Peer {
    kind: Kind,
    master: Child,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
        }
    }
}

impl Peer {
    /// Writes its configuration into `folder`, starts it and waits until it listens.
    pub(super) fn start(folder: &Path, setup: &Setup) -> anyhow::Result<Self> {
        let (mut call, file, text) = match setup.kind {
            Kind::Nginx => {
                let file = folder.join("nginx.conf");
                let mut call = instance::in_own_session(NGINX);
                call.arg("-p").arg(folder).arg("-c").arg(&file);
                (call, file, nginx(folder, setup))
            }
            Kind::Haproxy => {
                let file = folder.join("haproxy.cfg");
                let mut call = instance::in_own_session(HAPROXY);
                call.args(["-W", "-q", "-f"]).arg(&file);
                (call, file, haproxy(setup))
            }
        };
        std::fs::write(&file, text).with_context(|| format!("could not write {}", file.display()))?;
        call.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let master = call.spawn().with_context(|| format!("could not start {}", setup.kind.name()))?;
        let peer = Self { kind: setup.kind, master };
        wait_for(setup.plain)?;
        Ok(peer)
    }

    /// Makes it reload its configuration, as after a change.
    pub(super) fn reload(&self) -> anyhow::Result<()> {
        let signal = match self.kind {
            Kind::Nginx => Signal::HUP,
            Kind::Haproxy => Signal::USR2,
        };
        kill_process(Pid::from_child(&self.master), signal)
            .with_context(|| format!("could not make {} reload", self.kind.name()))
    }

    /// The master and its workers.
    pub(super) fn processes(&self) -> anyhow::Result<Vec<Process>> {
        let master = i32::try_from(self.master.id()).context("a process number does not fit")?;
        let all = procfs::process::all_processes().context("could not list the processes")?;
        let is_of_it =
            |process: &Process| process.pid == master || process.stat().is_ok_and(|stat| stat.ppid == master);
        Ok(all.flatten().filter(is_of_it).collect())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The master stops its workers on this signal; if it were killed, they would be left.
        let _ = kill_process(Pid::from_child(&self.master), Signal::TERM);
        let begun = os::since_boot();
        while let Ok(None) = self.master.try_wait()
            && os::since_boot().saturating_sub(begun) < END_WAIT_MAX
        {
            instance::pause();
        }
        let _ = self.master.kill();
        let _ = self.master.wait();
    }
}

/// A complete configuration of nginx: `inside` goes into its `http` block.
pub(super) fn nginx_conf(folder: &Path, name: &str, inside: &str) -> String {
    // Started as root, nginx switches to another user, who may not use root's temporary folder.
    let user = if rustix::process::getuid().is_root() { "user root;" } else { "" };
    let place = folder.join(name);
    let place = place.display();
    format!(
        "{user} worker_processes 2; worker_rlimit_nofile 20000; daemon off; pid {place}.pid; error_log /dev/null;\n\
         events {{ worker_connections 15000; }}\n\
         http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 600s;\n\
         client_body_temp_path {place}.body; proxy_temp_path {place}.proxy;\n\
         fastcgi_temp_path {place}.fastcgi; uwsgi_temp_path {place}.uwsgi;\n\
         scgi_temp_path {place}.scgi;\n{inside} }}\n"
    )
}

fn nginx(folder: &Path, setup: &Setup) -> String {
    let choice = match setup.choice {
        Choice::RoundRobin => "",
        Choice::LeastConnections => "least_conn;",
    };
    // By default a single failure disables a backend for ten seconds, so that all are disabled once each has died.
    let servers: String =
        setup.backends.iter().map(|backend| format!("server {backend} max_fails=0;")).collect();
    let secure = setup.secure.as_ref().map_or_else(String::new, |(address, file)| {
        let file = file.display();
        format!("listen {address} ssl http2 reuseport; ssl_certificate {file}; ssl_certificate_key {file}; ssl_protocols TLSv1.3;")
    });
    let protocol = match setup.protocol {
        ClientProtocol::Http1 => "",
        ClientProtocol::Http2 => "http2",
    };
    nginx_conf(
        folder,
        "nginx",
        &format!(
            "upstream backend {{ {choice} {servers} keepalive 64; }}\n\
             server {{ listen {} reuseport {protocol}; {secure}\n\
             location / {{ proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection \"\"; }} }}",
            setup.plain
        ),
    )
}

fn haproxy(setup: &Setup) -> String {
    let choice = match setup.choice {
        Choice::RoundRobin => "roundrobin",
        Choice::LeastConnections => "leastconn",
    };
    let secure = setup.secure.as_ref().map_or_else(String::new, |(address, file)| {
        format!("    bind {address} ssl crt {} ssl-min-ver TLSv1.3 alpn h2,http/1.1\n", file.display())
    });
    let protocol = match setup.protocol {
        ClientProtocol::Http1 => "",
        ClientProtocol::Http2 => " proto h2",
    };
    let servers: String = setup
        .backends
        .iter()
        .enumerate()
        .map(|(number, backend)| format!("    server s{number} {backend} check inter 500ms\n"))
        .collect();
    format!(
        // As many connections as the limit of open files allows, which HAProxy determines itself.
        "global\n    nbthread 2\n\
         defaults\n    mode http\n    timeout connect 1s\n    timeout client 600s\n    timeout server 60s\n    retries 3\n    \
         option redispatch\n    retry-on conn-failure empty-response\n    http-reuse always\n\
         frontend in\n    bind {}{protocol}\n{secure}    default_backend out\n\
         backend out\n    balance {choice}\n{servers}",
        setup.plain
    )
}
