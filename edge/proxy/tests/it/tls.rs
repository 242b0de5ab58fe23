//! Clients over TLS: which certificates they get, and that a change of certificates fails no request.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use http_body_util::Full;
use hyper::{Request, Response};
use proxy::{AttachedRoute, CertificateFiles, Gateway, Protocol, RouteError, ServiceRoute, TlsState};
use rcgen::{CertifiedKey, KeyPair};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::kit::*;

/// A folder with certificates, each signed by itself.
struct CertificateFolder {
    folder: TempDir,
}

impl CertificateFolder {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Writes a new certificate and key for these host names to the files of `name`; returns the certificate.
    fn put(&self, name: &str, hosts: &[&str]) -> CertificateDer<'static> {
        let pair = new_pair(hosts);
        self.write(name, &pair);
        pair.cert.der().clone()
    }

    /// Writes this certificate and key to the files of `name`.
    fn write(&self, name: &str, pair: &CertifiedKey<KeyPair>) {
        // Atomically, as a file under a running server should be replaced.
        for (ending, text) in [("pem", pair.cert.pem()), ("key", pair.signing_key.serialize_pem())] {
            let (new, path) = (self.path("new"), self.path(&format!("{name}.{ending}")));
            fs::write(&new, text).unwrap();
            fs::rename(new, path).unwrap();
        }
    }

    fn files(&self, name: &str) -> CertificateFiles {
        CertificateFiles {
            certificate: self.path(&format!("{name}.pem")),
            key: self.path(&format!("{name}.key")),
        }
    }

    fn tls(&self, names: &[&str]) -> proxy::Tls {
        proxy::Tls { certificates: names.iter().map(|name| self.files(name)).collect(), issued: Vec::new() }
    }

    /// A proxy that shows the certificates of these names, and whose endpoint says how it was reached.
    async fn fixture(&self, names: &[&str]) -> (Fixture, Backend) {
        let backend = Backend::http(|request: Request<_>| async move {
            let scheme = request.headers()["x-forwarded-proto"].to_str().unwrap().to_owned();
            Response::new(Full::new(scheme.into()))
        })
        .await;
        let fixture = Fixture::with(&[backend.address], |_, route| route.tls = Some(self.tls(names)));
        (fixture, backend)
    }
}

/// A TLS handshake for `host` with `trusted` as the only root.
async fn handshake(
    address: SocketAddr,
    host: &'static str,
    trusted: &CertificateDer<'static>,
    version: &'static SupportedProtocolVersion,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await?;
    let host = ServerName::try_from(host).unwrap();
    within(TlsConnector::from(Arc::new(config)).connect(host, stream)).await
}

async fn client(fixture: &Fixture, host: &'static str, trusted: &CertificateDer<'static>) -> Client {
    Client::over(handshake(fixture.address, host, trusted, &TLS13).await.unwrap()).await
}

/// Runs curl, trusting the certificate in a file, and returns what it printed.
async fn curl(arguments: &[&str], trusted: &str, url: &str) -> String {
    let mut call = Command::new("curl");
    call.args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "*", "--cacert", trusted]);
    let output = within(call.args(arguments).arg(url).stdin(Stdio::null()).output()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn tls_1_2_and_1_3_work_and_endpoints_get_the_scheme() {
    let folder = CertificateFolder::new();
    let certificate = folder.put("shop", &["localhost"]);
    let (fixture, _backend) = folder.fixture(&["shop"]).await;
    for version in [&TLS12, &TLS13] {
        let stream = handshake(fixture.address, "localhost", &certificate, version).await.unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
        let mut client = Client::over(stream).await;
        for _ in 0..3 {
            assert_eq!(client.get("/").await.unwrap().body(), "https");
        }
    }
    let url = format!("https://localhost:{}/", fixture.address.port());
    let trusted = folder.path("shop.pem").to_str().unwrap().to_owned();
    for version in [&["--tlsv1.3"][..], &["--tlsv1.2", "--tls-max", "1.2"]] {
        assert_eq!(curl(version, &trusted, &url).await, "https");
    }
    assert_eq!(fixture.traffic().handshake_failures, 0);
}

#[tokio::test]
async fn curl_negotiates_http_2_with_alpn_and_with_prior_knowledge() {
    let folder = CertificateFolder::new();
    folder.put("shop", &["localhost"]);
    let (fixture, _backend) = folder.fixture(&["shop"]).await;
    let trusted = folder.path("shop.pem").to_str().unwrap().to_owned();
    let url = format!("https://localhost:{}/", fixture.address.port());
    let write_out = ["--write-out", " %{http_version}"];
    for (sent, expected) in [("--http2", "https 2"), ("--http1.1", "https 1.1")] {
        assert_eq!(curl(&[&write_out[..], &[sent]].concat(), &trusted, &url).await, expected);
    }
    fixture.table.set_service(&ServiceRoute { tls: None, ..fixture.route.clone() }).unwrap();
    let url = format!("http://localhost:{}/", fixture.address.port());
    for (sent, expected) in [("--http2-prior-knowledge", "http 2"), ("--http2", "http 1.1")] {
        assert_eq!(curl(&[&write_out[..], &[sent]].concat(), &trusted, &url).await, expected);
    }
}

#[tokio::test]
async fn plaintext_on_a_tls_port_is_refused_and_counted() {
    let folder = CertificateFolder::new();
    folder.put("shop", &["localhost"]);
    let (fixture, _backend) = folder.fixture(&["shop"]).await;
    let received = send_raw(fixture.address, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(!received.contains("HTTP"), "{received}");
    until(|| fixture.traffic().handshake_failures == 1).await;
    // A client that only checks whether the port is open is not counted.
    drop(TcpStream::connect(fixture.address).await.unwrap());
    assert_eq!(fixture.traffic().counts.requests, 0);
}

#[tokio::test]
async fn a_client_that_does_not_do_the_handshake_is_disconnected() {
    let folder = CertificateFolder::new();
    folder.put("shop", &["localhost"]);
    let fixture = Fixture::with(&[], |_, route| {
        route.tls = Some(folder.tls(&["shop"]));
        route.timeouts.request_head = Duration::from_millis(50);
    });
    let mut silent = TcpStream::connect(fixture.address).await.unwrap();
    let mut slow = TcpStream::connect(fixture.address).await.unwrap();
    // The beginning of a handshake, of which the rest never comes.
    slow.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).await.unwrap();
    for stream in [&mut silent, &mut slow] {
        assert_eq!(within(stream.read(&mut [0; 64])).await.unwrap_or(0), 0);
    }
    until(|| fixture.traffic().handshake_failures == 2).await;
}

#[tokio::test]
async fn a_client_gets_the_certificate_of_the_name_it_asks_for_and_otherwise_the_first() {
    let folder = CertificateFolder::new();
    let first = folder.put("first", &["shop.example"]);
    let second = folder.put("second", &["bank.example", "*.bank.example"]);
    let (fixture, _backend) = folder.fixture(&["first", "second"]).await;
    for (host, certificate) in
        [("shop.example", &first), ("bank.example", &second), ("www.bank.example", &second)]
    {
        assert_eq!(client(&fixture, host, certificate).await.get("/").await.unwrap().status(), 200, "{host}");
    }
    let other = handshake(fixture.address, "other.example", &first, &TLS13).await.unwrap_err();
    assert!(other.to_string().contains("not valid for name"), "{other}");
}

#[tokio::test]
async fn invalid_certificates_are_refused_with_a_reason_and_nothing_listens() {
    let folder = CertificateFolder::new();
    folder.put("shop", &["localhost"]);
    folder.put("other", &["localhost"]);
    fs::write(folder.path("text.pem"), "a certificate\n").unwrap();
    fs::write(folder.path("broken.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        .unwrap();
    fs::write(folder.path("half.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n").unwrap();
    fs::write(
        folder.path("locked.key"),
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    )
    .unwrap();
    let fixture = Fixture::new(&[]);
    for (certificate, key, expected) in [
        ("none.pem", "shop.key", "none.pem: No such file or directory"),
        ("shop.pem", "none.key", "none.key: No such file or directory"),
        ("text.pem", "shop.key", "text.pem holds no certificate"),
        ("broken.pem", "shop.key", "broken.pem holds no valid certificate"),
        ("half.pem", "shop.key", "half.pem as PEM"),
        ("shop.pem", "shop.pem", "shop.pem holds no private key"),
        ("shop.pem", "locked.key", "locked.key holds no private key"),
        ("shop.pem", "other.key", "other.key is not the one of the certificate in"),
    ] {
        let mut route = ServiceRoute::new("secure", any());
        let pair = CertificateFiles { certificate: folder.path(certificate), key: folder.path(key) };
        route.tls = Some(proxy::Tls { certificates: vec![pair], issued: Vec::new() });
        let error = fixture.table.set_service(&route).unwrap_err();
        assert!(matches!(error, RouteError::Tls { .. }));
        let message = error.to_string();
        assert!(
            message.starts_with("could not set up TLS for service `secure`: ") && message.contains(expected),
            "{message}"
        );
        assert_eq!(fixture.table.address("secure"), None);
        assert!(proxy::check_certificates(&route.tls.unwrap()).is_err());
    }
}

#[tokio::test]
async fn a_service_may_change_to_tls_and_back_without_losing_connections() {
    let folder = CertificateFolder::new();
    let certificate = folder.put("shop", &["localhost"]);
    let backend = Backend::named("a").await;
    let fixture = Fixture::new(&[backend.address]);
    let mut plain = fixture.client().await;
    plain.get("/").await.unwrap();
    let secured = ServiceRoute { tls: Some(folder.tls(&["shop"])), ..fixture.route.clone() };
    fixture.table.set_service(&secured).unwrap();
    let mut secret = client(&fixture, "localhost", &certificate).await;
    secret.get("/").await.unwrap();
    plain.get("/").await.unwrap();
    let wrong = ServiceRoute { tls: Some(folder.tls(&["none"])), ..fixture.route.clone() };
    fixture.table.set_service(&wrong).unwrap_err();
    // A change that fails leaves everything as it was.
    client(&fixture, "localhost", &certificate).await.get("/").await.unwrap();
    fixture.table.set_service(&fixture.route).unwrap();
    fixture.client().await.get("/").await.unwrap();
    secret.get("/").await.unwrap();
    assert_eq!(fixture.table.tls(SERVICE), None);
}

fn state(fixture: &Fixture) -> TlsState {
    fixture.table.tls(SERVICE).unwrap()
}

#[tokio::test]
async fn a_changed_certificate_is_presented_to_new_clients_without_losing_a_request() {
    let folder = CertificateFolder::new();
    let before = folder.put("shop", &["localhost"]);
    let (fixture, _backend) = folder.fixture(&["shop"]).await;
    let fixture = Arc::new(fixture);
    let mut old = client(&fixture, "localhost", &before).await;
    let trusted = Arc::new(std::sync::Mutex::new(vec![before]));
    let (is_over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut load = JoinSet::new();
    for keeps in [true, true, false, false] {
        let (fixture, trusted) = (Arc::clone(&fixture), Arc::clone(&trusted));
        let (is_over, answered) = (Arc::clone(&is_over), Arc::clone(&answered));
        load.spawn(async move {
            let mut kept: Option<Client> = None;
            while !is_over.load(Ordering::Relaxed) {
                let mut one = match kept.take() {
                    Some(client) => client,
                    None => connect_trusting_any(&fixture, &trusted).await,
                };
                assert_eq!(one.get("/").await.unwrap().body(), "https");
                answered.fetch_add(1, Ordering::Relaxed);
                kept = keeps.then_some(one);
            }
        });
    }
    for _ in 0..3 {
        let pair = new_pair(&["localhost"]);
        let after = pair.cert.der().clone();
        // Before the proxy can present it.
        trusted.lock().unwrap().push(after.clone());
        folder.write("shop", &pair);
        within(async {
            while handshake(fixture.address, "localhost", &after, &TLS13).await.is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    until(|| answered.load(Ordering::Relaxed) > 100 || load.is_empty()).await;
    is_over.store(true, Ordering::Relaxed);
    within(async {
        while let Some(ended) = load.join_next().await {
            ended.unwrap();
        }
    })
    .await;
    assert_eq!(old.get("/").await.unwrap().body(), "https");
    let traffic = fixture.traffic();
    assert_eq!((traffic.errors(), traffic.malformed), (0, 0));
    assert_eq!(state(&fixture).problem, None);
}

/// A new certificate and key for these host names.
fn new_pair(hosts: &[&str]) -> CertifiedKey<KeyPair> {
    let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
    rcgen::generate_simple_self_signed(hosts).unwrap()
}

/// A client that accepts every certificate that there has been so far.
async fn connect_trusting_any(
    fixture: &Fixture,
    trusted: &std::sync::Mutex<Vec<CertificateDer<'static>>>,
) -> Client {
    let mut roots = RootCertStore::empty();
    trusted.lock().unwrap().iter().for_each(|certificate| roots.add(certificate.clone()).unwrap());
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(fixture.address).await.unwrap();
    let host = ServerName::try_from("localhost").unwrap();
    Client::over(within(TlsConnector::from(Arc::new(config)).connect(host, stream)).await.unwrap()).await
}

#[tokio::test]
async fn an_invalid_new_certificate_leaves_the_old_one_in_use_and_is_reported() {
    let folder = CertificateFolder::new();
    let before = folder.put("shop", &["localhost", "shop.example"]);
    let (fixture, _backend) = folder.fixture(&["shop"]).await;
    let first = state(&fixture);
    let [certificate] = &first.certificates[..] else { panic!("{first:?}") };
    assert_eq!(certificate.names, ["localhost", "shop.example"]);
    assert!(UNIX_EPOCH < certificate.not_before && certificate.not_before < certificate.not_after);

    let whole = fs::read(folder.path("shop.pem")).unwrap();
    fs::write(folder.path("shop.pem"), &whole[..whole.len() / 2]).unwrap();
    until(|| state(&fixture).problem.is_some()).await;
    let broken = state(&fixture);
    let problem = broken.problem.unwrap();
    assert!(problem.contains("shop.pem"), "{problem}");
    assert_eq!(broken.certificates, first.certificates);
    client(&fixture, "localhost", &before).await.get("/").await.unwrap();
    // A change of the route is not held up by it.
    fixture.table.set_service(&fixture.route).unwrap();

    fs::remove_file(folder.path("shop.pem")).unwrap();
    until(|| state(&fixture).problem.is_some_and(|problem| problem.contains("No such file"))).await;
    let after = folder.put("shop", &["localhost"]);
    until(|| state(&fixture).problem.is_none()).await;
    client(&fixture, "localhost", &after).await.get("/").await.unwrap();
    assert_eq!(state(&fixture).certificates[0].names, ["localhost"]);
}

#[tokio::test]
async fn a_proxy_that_stops_does_not_wait_for_handshakes() {
    let folder = CertificateFolder::new();
    folder.put("shop", &["localhost"]);
    let (fixture, _backend) = folder.fixture(&["shop"]).await;
    let mut silent = TcpStream::connect(fixture.address).await.unwrap();
    let ended = within(fixture.proxy.shutdown(DEADLINE)).await;
    assert_eq!(ended.connections_cut, 0);
    assert_eq!(within(silent.read(&mut [0])).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn a_protocol_may_be_changed_within_tls() {
    let folder = CertificateFolder::new();
    let certificate = folder.put("shop", &["localhost"]);
    let backend = Backend::raw(|mut stream| async move {
        read_head(&mut stream).await;
        let head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
        stream.write_all(head).await.unwrap();
        let (mut from, mut to) = stream.split();
        let _ = tokio::io::copy(&mut from, &mut to).await;
    })
    .await;
    let fixture = Fixture::with(&[backend.address], |_, route| route.tls = Some(folder.tls(&["shop"])));
    let mut stream = handshake(fixture.address, "localhost", &certificate, &TLS13).await.unwrap();
    let head = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut received = Vec::new();
    while !received.ends_with(b"\r\n\r\n") {
        received.push(within(stream.read_u8()).await.unwrap());
    }
    assert!(received.starts_with(b"HTTP/1.1 101 "));
    for data in [&b"one"[..], &[7; 100_000]] {
        let mut back = vec![0; data.len()];
        let (mut from, mut to) = tokio::io::split(&mut stream);
        let (written, read) = within(async {
            tokio::join!(
                async {
                    to.write_all(data).await?;
                    to.flush().await
                },
                from.read_exact(&mut back)
            )
        })
        .await;
        written.unwrap();
        read.unwrap();
        assert_eq!(back, data);
    }
}

#[tokio::test]
async fn other_services_do_not_wait_while_the_files_of_one_are_read() {
    let folder = CertificateFolder::new();
    let path = folder.path("slow.pem");
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let fixture = Fixture::new(&[]);
    let route = ServiceRoute { tls: Some(folder.tls(&["slow"])), ..ServiceRoute::new("slow", any()) };
    let table = fixture.table.clone();
    let setting = std::thread::spawn(move || table.set_service(&route));
    // This waits until the file is opened, and reading it waits until this is closed.
    let pipe = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let (report, reported) = std::sync::mpsc::channel();
    let table = fixture.table.clone();
    std::thread::spawn(move || report.send(table.traffic().len()).unwrap());
    assert_eq!(reported.recv_timeout(DEADLINE), Ok(1));
    drop(pipe);
    assert!(matches!(setting.join().unwrap(), Err(RouteError::Tls { .. })));
}

/// A route for one host to the service of the fixture, with the certificate of that name or none.
fn route(folder: &CertificateFolder, host: &str, certificate: Option<&str>) -> AttachedRoute {
    let mut spec = serde_json::json!({
        "listen": "127.0.0.1:0", "hostnames": [host], "rules": [{"backendRefs": [{"name": SERVICE}]}]
    });
    if let Some(name) = certificate {
        let CertificateFiles { certificate, key } = folder.files(name);
        spec["tls"] = serde_json::json!({"certificate": certificate, "key": key});
    }
    AttachedRoute { name: host.into(), created: 1, spec: Arc::new(serde_json::from_value(spec).unwrap()) }
}

fn gateway(routes: Vec<AttachedRoute>) -> Gateway {
    let declared = routes.iter().filter_map(|route| route.spec.tls.as_ref());
    let tls = proxy::Tls::declared(declared, |_| unreachable!("these have files"));
    Gateway { listen: any(), tls, routes }
}

async fn ask(client: &mut Client, host: &str) -> Response<bytes::Bytes> {
    let mut sent = request("GET", "/", "");
    sent.headers_mut().insert("host", host.parse().unwrap());
    client.send(sent).await.unwrap()
}

#[tokio::test]
async fn routes_of_one_listener_are_reached_over_tls_with_the_certificates_of_all_of_them() {
    let folder = CertificateFolder::new();
    let certificates = ["shop", "bank"].map(|name| folder.put(name, &[&format!("{name}.test")]));
    let (fixture, _backend) = folder.fixture(&["shop"]).await;
    let set = |routes| fixture.table.set_gateway(&gateway(routes));
    let routes = vec![route(&folder, "shop.test", Some("shop")), route(&folder, "bank.test", Some("bank"))];
    let address = set(routes).unwrap();

    for (host, certificate) in ["shop.test", "bank.test"].into_iter().zip(&certificates) {
        let stream = handshake(address, host, certificate, &TLS13).await.unwrap();
        assert_eq!(ask(&mut Client::over(stream).await, host).await.body(), "https", "{host}");
    }
    assert_eq!(fixture.table.gateway_tls(any()).unwrap().certificates.len(), 2);

    // What cannot be read changes nothing; who is connected stays so when nothing is shown any more.
    let stream = handshake(address, "bank.test", &certificates[1], &TLS13).await.unwrap();
    let mut before = Client::over(stream).await;
    let refused = set(vec![route(&folder, "bank.test", Some("nothing"))]).unwrap_err();
    assert!(matches!(refused, RouteError::Tls { .. }), "{refused}");
    assert_eq!(ask(&mut before, "bank.test").await.body(), "https");
    assert_eq!(set(vec![route(&folder, "bank.test", None)]).unwrap(), address);
    assert_eq!(ask(&mut before, "bank.test").await.body(), "https");
    assert_eq!(ask(&mut Client::connect(address).await, "bank.test").await.body(), "http");
    assert_eq!(fixture.table.gateway_tls(any()), None);
}

#[tokio::test]
async fn a_changed_certificate_of_a_route_is_used() {
    let folder = CertificateFolder::new();
    folder.put("shop", &["shop.test"]);
    // Nothing else here has certificates: it is the listener's that are watched.
    let fixture = Fixture::new(&[]);
    let routes = vec![route(&folder, "shop.test", Some("shop"))];
    let address = fixture.table.set_gateway(&gateway(routes)).unwrap();
    let renewed = folder.put("shop", &["shop.test"]);
    within(async {
        while handshake(address, "shop.test", &renewed, &TLS13).await.is_err() {
            // tidy: pause between looks
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// What a certificate that was issued is kept as: its key and itself in one file.
fn issue(folder: &CertificateFolder, host: &str) -> (PathBuf, CertificateDer<'static>) {
    let certificate = folder.put("issued", &[host]);
    let whole = ["issued.key", "issued.pem"].map(|file| fs::read_to_string(folder.path(file)).unwrap());
    let path = folder.path("whole.pem");
    fs::write(folder.path("new"), whole.concat()).unwrap();
    fs::rename(folder.path("new"), &path).unwrap();
    (path, certificate)
}

#[tokio::test]
async fn clients_are_refused_until_a_certificate_is_issued() {
    let folder = CertificateFolder::new();
    let fixture = Fixture::new(&[]);
    let mut secure = ServiceRoute::new("secure", any());
    let path = folder.path("whole.pem");
    secure.tls = Some(proxy::Tls { issued: vec![path.clone()], ..proxy::Tls::default() });
    let address = fixture.table.set_service(&secure).unwrap().unwrap();
    let stranger = rcgen::generate_simple_self_signed(vec!["a.test".to_owned()]).unwrap();
    let refused = handshake(address, "a.test", stranger.cert.der(), &TLS13).await.unwrap_err();
    assert!(refused.to_string().contains("AccessDenied"), "{refused}");
    assert_eq!(fixture.table.tls("secure").unwrap(), TlsState { certificates: Vec::new(), problem: None });

    // What a crash has left of one does no harm.
    fs::write(&path, "-----BEGIN CERT").unwrap();
    assert!(handshake(address, "a.test", stranger.cert.der(), &TLS13).await.is_err());
    let (_, certificate) = issue(&folder, "a.test");
    within(async {
        while handshake(address, "a.test", &certificate, &TLS13).await.is_err() {
            // tidy: pause between looks
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(fixture.table.tls("secure").unwrap().certificates[0].names, ["a.test"]);
}

/// The certificate that a host shows to those who offer this protocol, and what they agree on.
async fn certificate_for(
    address: SocketAddr,
    host: &'static str,
    protocol: &[u8],
    trusted: &CertificateDer<'static>,
) -> std::io::Result<(CertificateDer<'static>, Option<Vec<u8>>)> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let stream = TcpStream::connect(address).await?;
    let host = ServerName::try_from(host).unwrap();
    let mut stream = within(TlsConnector::from(Arc::new(config)).connect(host, stream)).await?;
    let session = stream.get_ref().1;
    let first = session.peer_certificates().unwrap()[0].clone().into_owned();
    let agreed = session.alpn_protocol().map(<[u8]>::to_vec);
    if protocol == b"acme-tls/1" {
        let mut rest = Vec::new();
        // It ends without a request; that it ends at once and not by a message is of no interest.
        let _ = within(stream.read_to_end(&mut rest)).await;
        assert!(rest.is_empty());
    }
    Ok((first, agreed))
}

#[tokio::test]
async fn a_tls_alpn_challenge_is_answered_and_other_clients_do_not_see_it() {
    let folder = CertificateFolder::new();
    let usual = folder.put("shop", &["a.test"]);
    let (fixture, _backend) = folder.fixture(&["shop"]).await;
    let proof = rcgen::generate_simple_self_signed(vec!["a.test".to_owned()]).unwrap();
    let challenge = proxy::Challenge::Tls {
        certificate: proof.cert.der().to_vec(),
        key: proof.signing_key.serialize_der(),
    };
    let acme = b"acme-tls/1";
    assert!(certificate_for(fixture.address, "a.test", acme, proof.cert.der()).await.is_err());
    fixture.table.set_challenge("a.test", Some(challenge)).unwrap();
    let (shown, agreed) = certificate_for(fixture.address, "a.test", acme, proof.cert.der()).await.unwrap();
    assert_eq!((shown, agreed.as_deref()), (proof.cert.der().clone(), Some(&acme[..])));
    assert_eq!(certificate_for(fixture.address, "a.test", b"http/1.1", &usual).await.unwrap().0, usual);
    fixture.table.set_challenge("a.test", None).unwrap();
    assert!(certificate_for(fixture.address, "a.test", acme, proof.cert.der()).await.is_err());
}

#[tokio::test]
async fn a_tcp_service_leaves_the_protocol_within_tls_to_its_clients_and_endpoints() {
    let folder = CertificateFolder::new();
    let certificate = folder.put("queue", &["localhost"]);
    let (fixture, _backend) = folder.fixture(&["queue"]).await;
    let agreed = async |protocol: &[u8]| {
        let agreed = certificate_for(fixture.address, "localhost", protocol, &certificate).await;
        agreed.map(|(_, protocol)| protocol).map_err(|error| error.kind())
    };
    assert_eq!(agreed(b"h2").await, Ok(Some(b"h2".to_vec())));
    assert!(agreed(b"mqtt").await.is_err(), "the proxy speaks HTTP only");
    let route = ServiceRoute { protocol: Protocol::Tcp, ..fixture.route.clone() };
    fixture.table.set_service(&route).unwrap();
    for protocol in [&b"mqtt"[..], b"h2", b"http/1.1"] {
        assert_eq!(agreed(protocol).await, Ok(None), "the proxy does not know what the endpoints speak");
    }
}

#[tokio::test]
async fn an_http_challenge_is_answered_before_any_route() {
    let backend = Backend::http(|_| async { Response::new(Full::new("the service".into())) }).await;
    let fixture = Fixture::new(&[backend.address]);
    let routes = vec![AttachedRoute {
        name: "nobody".into(),
        created: 1,
        spec: Arc::new(
            serde_json::from_value(
                serde_json::json!({"listen": "127.0.0.1:0", "rules": [{"backendRefs": []}]}),
            )
            .unwrap(),
        ),
    }];
    let shared = fixture.table.set_gateway(&gateway(routes)).unwrap();
    let challenge = proxy::Challenge::Http { token: "t-1".into(), answer: "t-1.thumb".into() };
    fixture.table.set_challenge("a.test", Some(challenge)).unwrap();
    for address in [fixture.address, shared] {
        let mut client = Client::connect(address).await;
        let answer = client.get("/.well-known/acme-challenge/t-1").await.unwrap();
        assert_eq!((answer.status().as_u16(), &answer.body()[..]), (200, &b"t-1.thumb"[..]));
        let other = client.get("/.well-known/acme-challenge/t-2").await.unwrap();
        assert_ne!(other.body(), "t-1.thumb");
    }
    fixture.table.set_challenge("a.test", None).unwrap();
    let mut client = Client::connect(fixture.address).await;
    assert_eq!(client.get("/.well-known/acme-challenge/t-1").await.unwrap().body(), "the service");
}
