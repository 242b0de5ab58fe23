//! A whole Homeostat behind a real socket: loop, agent, processes; only the store is in memory.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use agent::{Agent, StopScope};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use model::identity::Epoch;
use model::name::NodeName;
use model::settings::Settings;
use orchestrator::{Config, Handle};
use platform_process::ProcessPlatform;
use proxy::{Proxy, ProxyConfig};
use serde_json::{Value, json};
use store::memory::{MemoryDisk, MemoryStore};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) handle: Handle,
    http: Client<HttpConnector, Full<Bytes>>,
    agent: Agent,
    proxy: Proxy,
    stop: CancellationToken,
    server: JoinSet<()>,
    _folder: TempDir,
}

/// An answer that was read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) media: String,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("every answer is text")
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// With what `before` has put into the data folder.
    pub(crate) async fn start_with(before: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().to_path_buf();
        before(&data);
        let platform =
            Arc::new(ProcessPlatform::open(platform_process::Settings::new(&data, &data)).unwrap());
        let proxy = Proxy::start(&ProxyConfig::default()).unwrap();
        let node = NodeName::parse("here").unwrap();
        let (orders, inbox) = channel();
        let handle = orchestrator::start(Config {
            store: Arc::new(MemoryStore::open(MemoryDisk::default())),
            journal: data.join("journal"),
            history: orchestrator::HistoryConfig::in_folder(data.join("history")),
            node: node.clone(),
            epoch_of_node: Epoch(0),
            seed: 7,
            settings: Settings::default(),
            orders,
        })
        .unwrap();
        let agent =
            Agent::start(node, None, data.join("acme"), platform, proxy.table(), handle.clone(), inbox);
        let agent = agent.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let state =
            api::State::new(handle.clone(), agent.clone(), address, PathBuf::from(&data), stop.clone());
        let mut server = JoinSet::new();
        server.spawn(api::serve(listener, state));
        let http = Client::builder(TokioExecutor::new()).build_http();
        let world = Self { address, handle, http, agent, proxy, stop, server, _folder: folder };
        world.until("/readyz", |answer| answer.status == StatusCode::OK).await;
        world
    }

    /// Declares a service whose replicas greet and then wait.
    pub(crate) async fn declare(&self, name: &str, replicas: u32) {
        let answer = self.send(Method::POST, "/v1/apply", &service(name, replicas)).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        self.until(&format!("/v1/services/{name}"), |answer| {
            answer.status == StatusCode::OK && answer.json()["status"]["readyReplicas"] == replicas
        })
        .await;
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.execute(self.request(Method::GET, path, "")).await
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: &Value) -> Answer {
        let mut request = self.request(method, path, &body.to_string());
        request.headers_mut().insert("content-type", "application/json".parse().unwrap());
        self.execute(request).await
    }

    pub(crate) fn request(&self, method: Method, path: &str, body: &str) -> Request<Full<Bytes>> {
        let body = Full::new(Bytes::from(body.to_owned()));
        Request::builder().method(method).uri(format!("http://{}{path}", self.address)).body(body).unwrap()
    }

    pub(crate) async fn open(&self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        tokio::time::timeout(DEADLINE, self.http.request(request))
            .await
            .expect("it answers")
            .expect("it is there")
    }

    pub(crate) async fn execute(&self, request: Request<Full<Bytes>>) -> Answer {
        let response = self.open(request).await;
        let status = response.status();
        let media = response.headers().get("content-type").map(|it| it.to_str().unwrap().to_owned());
        let body =
            tokio::time::timeout(DEADLINE, response.into_body().collect()).await.expect("it ends").unwrap();
        Answer { status, media: media.unwrap_or_default(), body: body.to_bytes() }
    }

    /// Asks until the answer is as `wanted`.
    pub(crate) async fn until(&self, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            let answer = self.get(path).await;
            if wanted(&answer) {
                return answer;
            }
            assert!(tokio::time::Instant::now() < deadline, "{path} stayed at {answer:?}");
            // tidy: pause between looks
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends everything that was started, within the time that a caller may be patient for.
    pub(crate) async fn end(mut self) {
        self.stop.cancel();
        while let Some(ended) =
            tokio::time::timeout(DEADLINE, self.server.join_next()).await.expect("it stops")
        {
            ended.unwrap();
        }
        let epoch = self.handle.stop();
        self.agent.stop_replicas(epoch, StopScope::All, &CancellationToken::new()).await.unwrap();
        self.agent.close().await;
        self.proxy.shutdown(Duration::ZERO).await;
    }
}

/// A service whose replicas greet and then wait, but never for longer than a test.
pub(crate) fn service(name: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "homeostat/v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "run": {"command": ["sh", "-c", "echo hello; exec sleep 120"]},
            "scale": {"replicas": replicas},
            "stop": {"signal": "SIGKILL", "drain": "0s"},
        },
    })
}

/// The data of the server-sent events of an answer, one by one.
pub(crate) struct Events {
    body: Incoming,
    rest: String,
}

impl Events {
    pub(crate) fn of(response: Response<Incoming>) -> Self {
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.into_body(), rest: String::new() }
    }

    /// The next event; `None` when the answer has ended.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            while let Some((line, rest)) = self.rest.split_once('\n') {
                let data = line.strip_prefix("data:").map(|data| serde_json::from_str(data).unwrap());
                self.rest = rest.to_owned();
                if data.is_some() {
                    return data;
                }
            }
            let frame = tokio::time::timeout(DEADLINE, self.body.frame()).await.expect("something comes")?;
            let data = frame.ok()?.into_data().unwrap_or_default();
            self.rest.push_str(str::from_utf8(&data).unwrap());
        }
    }

    /// The first event that is as `wanted`.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut seen = Vec::new();
        let found = async {
            loop {
                let event = self.next().await.expect("the watch goes on");
                if wanted(&event) {
                    return event;
                }
                seen.push(event);
            }
        };
        match tokio::time::timeout(DEADLINE, found).await {
            Ok(event) => event,
            Err(_) => panic!("it did not come; there were only {}", Value::Array(seen)),
        }
    }
}
