//! A real ACME authority, Pebble, for one test.

use std::fs;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::instance::{Instance, text, wait_until};

/// Pebble with a DNS server that resolves every host to 127.0.0.1. It stores nothing.
pub(crate) struct Authority {
    port: u16,
    processes: Vec<Child>,
}

/// The configuration of an authority: its port, and the ports on which it validates hosts.
pub(crate) struct AuthorityConfig {
    pub(crate) port: u16,
    /// Port of the hosts for TLS.
    pub(crate) tls_port: u16,
    /// Port of the hosts for plain HTTP.
    pub(crate) http_port: u16,
    /// How long its certificates are valid.
    pub(crate) seconds: u64,
}

impl AuthorityConfig {
    pub(crate) fn new(tls_port: u16, http_port: u16) -> Self {
        Self { port: ports::free(), tls_port, http_port, seconds: 86_400 * 90 }
    }

    /// The URL of its directory.
    pub(crate) fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.port)
    }

    /// Writes the certificate of the authority's own server to `ca.pem`, which is declared as `caFile`.
    pub(crate) fn prepare(&self, instance: &Instance) {
        let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        instance.write("ca.pem", &pair.cert.pem());
        instance.write("ca.key", &pair.signing_key.serialize_pem());
    }

    /// Starts it, and waits until it answers; writes its root certificate to `root.pem`.
    pub(crate) fn start(&self, instance: &Instance) -> Authority {
        let (names, unused, management) = (ports::free(), ports::free(), ports::free());
        let config = json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{}", self.port),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": instance.path("ca.pem"), "privateKey": instance.path("ca.key"),
            "httpPort": self.http_port, "tlsPort": self.tls_port,
            "ocspResponderURL": "", "externalAccountBindingRequired": false,
            "certificateValidityPeriod": self.seconds,
        }});
        let config = instance.write("pebble.json", &config.to_string());
        let mut dns = Command::new("pebble-challtestsrv");
        dns.args(["-dns01", &format!("127.0.0.1:{names}"), "-defaultIPv6", "", "-http01", ""]);
        dns.args(["-https01", "", "-tlsalpn01", "", "-management", &format!("127.0.0.1:{unused}")]);
        let mut pebble = Command::new("pebble");
        pebble.args(["-config", text(&config), "-dnsserver", &format!("127.0.0.1:{names}")]);
        // By default it waits up to 15 s before it validates, as real authorities may.
        pebble.env("PEBBLE_VA_NOSLEEP", "1");
        let processes = [dns, pebble].map(|mut command| {
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().expect("pebble is installed by `cargo xtask test`")
        });
        let authority = Authority { port: self.port, processes: processes.into() };
        let root = wait_until("the authority answers", || {
            let root = curl(instance, &format!("https://localhost:{management}/roots/0"));
            (root.contains("BEGIN CERTIFICATE") && authority.is_ready(instance)).then_some(root)
        });
        instance.write("root.pem", &root);
        authority
    }
}

impl Authority {
    fn is_ready(&self, instance: &Instance) -> bool {
        curl(instance, &format!("https://localhost:{}/dir", self.port)).contains("newOrder")
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// The response of the authority; empty on an error.
fn curl(instance: &Instance, url: &str) -> String {
    let mut call = Command::new("curl");
    call.args(["--silent", "--max-time", "5", "--noproxy", "*", "--ipv4", "--cacert"]);
    let output = call.arg(instance.path("ca.pem")).arg(url).stdin(Stdio::null()).output();
    String::from_utf8_lossy(&output.expect("curl is installed").stdout).into_owned()
}

/// The path, the mode and the content of every file below a folder of the instance.
pub(crate) fn files(instance: &Instance, folder: &str) -> Vec<(String, u32, Vec<u8>)> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut found = Vec::new();
    for entry in fs::read_dir(instance.path(folder)).into_iter().flatten().flatten() {
        let mode = entry.metadata().expect("it was listed").permissions().mode() & 0o777;
        let name = entry.file_name().to_string_lossy().into_owned();
        found.push((name, mode, fs::read(entry.path()).unwrap_or_default()));
    }
    found.sort();
    found
}
