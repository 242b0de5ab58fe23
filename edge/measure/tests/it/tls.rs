//! Sources over TLS.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use measure::Source;
use model::measure::MeasurementResult;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::{server, source, values, why};

/// A self-signed certificate and its key.
struct Identity {
    folder: TempDir,
    key: CertifiedKey<rcgen::KeyPair>,
}

impl Identity {
    fn of(name: &str) -> Self {
        let key = generate_simple_self_signed([name.to_owned()]).unwrap();
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("certificate.pem"), key.cert.pem()).unwrap();
        std::fs::write(folder.path().join("key.pem"), key.signing_key.serialize_pem()).unwrap();
        Self { folder, key }
    }

    fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    /// Root certificates that trust only this one.
    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.key.cert.der().clone()).unwrap();
        Arc::new(roots)
    }

    /// A server with this certificate that reports three jobs. With `clients` it accepts only clients with their certificate.
    async fn serves(&self, clients: Option<&Self>) -> u16 {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(clients.roots(), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let key = PrivateKeyDer::from_pem_slice(self.key.signing_key.serialize_pem().as_bytes()).unwrap();
        let config = builder.with_single_cert(vec![self.key.cert.der().clone()], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                // A client that does not trust it disconnects.
                let Ok(mut stream) = acceptor.accept(socket).await else { continue };
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => break,
                    }
                }
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{\"jobs\": 3}";
                let _ = stream.write_all(answer).await;
                let _ = stream.shutdown().await;
            }
        });
        port
    }
}

fn page(port: u16, tls: &Value) -> Source {
    let url = format!("https://localhost:{port}/queues");
    source(&json!({"http": {"url": url, "value": "$.jobs", "tls": tls}}), "20s")
}

async fn measured(port: u16, tls: &Value) -> MeasurementResult {
    page(port, tls).measure(&[]).await
}

fn pair(identity: &Identity) -> Value {
    json!({"certificate": identity.certificate(), "key": identity.key()})
}

fn trusting(file: &Path) -> Value {
    json!({"caFile": file})
}

#[tokio::test]
async fn a_server_with_a_trusted_certificate_is_queried() {
    let server = Identity::of("localhost");
    let port = server.serves(None).await;
    assert_eq!(values(&measured(port, &trusting(&server.certificate())).await), [3000]);
}

#[tokio::test]
async fn no_other_certificate_is_trusted() {
    let (server, other) = (Identity::of("localhost"), Identity::of("localhost"));
    let port = server.serves(None).await;
    for tls in [trusting(&other.certificate()), json!({})] {
        let why = why(&measured(port, &tls).await);
        assert!(why.starts_with(&format!("could not speak TLS with localhost:{port}: ")), "{why}");
    }
    let elsewhere = Identity::of("elsewhere.example");
    let port = elsewhere.serves(None).await;
    let why = why(&measured(port, &trusting(&elsewhere.certificate())).await);
    assert!(why.contains("not valid for name"), "{why}");
}

#[tokio::test]
async fn a_client_certificate_is_sent_on_request() {
    let (server, client) = (Identity::of("localhost"), Identity::of("homeostat"));
    let port = server.serves(Some(&client)).await;
    let known = json!({"caFile": server.certificate(), "client": pair(&client)});
    assert_eq!(values(&measured(port, &known).await), [3000]);
    let stranger = json!({"caFile": server.certificate(), "client": pair(&server)});
    for tls in [stranger, trusting(&server.certificate())] {
        why(&measured(port, &tls).await);
    }
}

#[tokio::test]
async fn unusable_files_are_named_but_not_shown() {
    let server = Identity::of("localhost");
    let port = server.serves(None).await;
    let secret = server.folder.path().join("secret");
    std::fs::write(&secret, "a secret").unwrap();
    let missing = server.folder.path().join("missing");
    for (tls, sentence) in [
        (trusting(&secret), "it holds no certificate"),
        (trusting(&missing), "could not read the certificate in"),
        (
            json!({"caFile": server.certificate(), "client": {"certificate": server.certificate(), "key": secret}}),
            "could not read the key in",
        ),
    ] {
        let why = why(&measured(port, &tls).await);
        assert!(why.contains(sentence) && !why.contains("a secret"), "{why}");
    }
}

#[tokio::test]
async fn servers_that_do_not_speak_tls_or_hang_are_given_up() {
    let identity = Identity::of("localhost");
    let trusted = trusting(&identity.certificate());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    });
    let no_tls = why(&measured(plain, &trusted).await);
    assert!(no_tls.contains("could not speak TLS"), "{no_tls}");
    let silent = server(|socket, _| async move {
        std::future::pending::<()>().await;
        drop(socket);
    })
    .await;
    let url = format!("https://localhost:{silent}/");
    let mut hanging = source(&json!({"http": {"url": url, "value": "$", "tls": trusted}}), "50ms");
    assert!(why(&hanging.measure(&[]).await).contains("did not answer within 50ms"));
}
