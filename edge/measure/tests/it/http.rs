//! Pages in JSON, and servers of PromQL.

use std::sync::Arc;

use measure::Source;
use model::measure::MeasurementResult;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::{answers, server, source, values, why};

fn page(port: u16, path: &str) -> serde_json::Value {
    json!({"http": {"url": format!("http://127.0.0.1:{port}/queues"), "value": path}})
}

fn query(port: u16) -> serde_json::Value {
    json!({"prometheus": {"url": format!("http://127.0.0.1:{port}"), "query": "sum(jobs)"}})
}

#[tokio::test]
async fn a_json_document_gives_the_numbers_that_its_path_selects() {
    let body = r#"{"queues": [{"length": 2}, {"length": "3.5"}], "off": null}"#;
    let port = answers("200 OK", "", body).await;
    assert_eq!(values(&source(&page(port, "$.queues[*].length"), "20s").measure(&[]).await), [2000, 3500]);
    // An empty result is an answer, and not zero.
    assert_eq!(
        source(&page(port, "$.nothing"), "20s").measure(&[]).await,
        MeasurementResult::Series(Vec::new())
    );
    let off = why(&source(&page(port, "$.off"), "20s").measure(&[]).await);
    assert!(off.contains("has no number at $.off: it is null"), "{off}");
}

#[tokio::test]
async fn an_unusable_answer_is_explained_in_one_sentence() {
    for (status, more, body, sentence) in [
        ("200 OK", "content-type: text/html\r\n", "<html>", "is not JSON (text/html)"),
        ("404 Not Found", "", "{}", "answered 404"),
        ("302 Found", "location: http://10.0.0.1/\r\n", "", "redirects to \"http://10.0.0.1/\""),
        ("200 OK", "", "{\"a\": \"NaN\"}", "the value of jobs cannot be used: NaN is not a number"),
        ("200 OK", "", "{\"a\": \"inf\"}", "infinity is not a number to scale by"),
        ("200 OK", "", "{\"a\": 1e300}", "it is beyond 9223372036854775"),
        ("200 OK", "", "{\"a\": \"many\"}", "it is the text \"many\""),
    ] {
        let port = answers(status, more, body).await;
        let why = why(&source(&page(port, "$.a"), "20s").measure(&[]).await);
        assert!(why.contains(sentence), "{why}");
    }
}

#[tokio::test]
async fn a_hanging_server_is_given_up_after_the_timeout() {
    let port = server(|socket, _| async move {
        std::future::pending::<()>().await;
        drop(socket);
    })
    .await;
    let why = why(&source(&query(port), "50ms").measure(&[]).await);
    assert!(why.contains("did not answer within 50ms"), "{why}");
}

#[tokio::test]
async fn an_endless_answer_is_given_up_at_the_size_limit() {
    let port = server(|mut socket, _| async move {
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
        let mut written = socket.write_all(head).await;
        while written.is_ok() {
            written = socket.write_all(chunk.as_bytes()).await;
        }
    })
    .await;
    let why = why(&source(&page(port, "$.a"), "60s").measure(&[]).await);
    assert!(why.contains("longer than 4194304 bytes"), "{why}");
}

#[tokio::test]
async fn a_refused_connection_is_reported_with_the_address() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let why = why(&source(&query(port), "20s").measure(&[]).await);
    assert!(why.contains(&format!("could not connect to 127.0.0.1:{port}")), "{why}");
}

#[tokio::test]
async fn a_promql_error_has_the_message_of_the_server() {
    let body = r#"{"status":"error","errorType":"bad_data","error":"unknown function with name \"summ\""}"#;
    let port = answers("400 Bad Request", "", body).await;
    let why = why(&source(&query(port), "20s").measure(&[]).await);
    assert!(why.ends_with("answered 400: unknown function with name \"summ\""), "{why}");
}

#[tokio::test]
async fn too_many_series_are_refused() {
    let series = r#"{"metric":{},"value":[1,"1"]}"#;
    let all = vec![series; 1001].join(",");
    let body = format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{all}]}}}}"#);
    let port = answers("200 OK", "", body.leak()).await;
    let why = why(&source(&query(port), "20s").measure(&[]).await);
    assert!(why.contains("more than 1000 series"), "{why}");
}

#[tokio::test]
async fn a_token_is_sent_to_the_server_only() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "secret\n").unwrap();
    let port = server(|mut socket, head| async move {
        let is_shown = head.to_ascii_lowercase().contains("authorization: bearer secret\r\n");
        let status = if is_shown { "200 OK" } else { "401 Unauthorized" };
        let body = if is_shown { "{\"a\": 1}" } else { "" };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let _ = socket.write_all(answer.as_bytes()).await;
    })
    .await;
    let mut from = page(port, "$.a");
    from["http"]["bearerTokenFile"] = json!(file);
    let mut source = source(&from, "20s");
    assert_eq!(values(&source.measure(&[]).await), [1000]);
    assert!(!format!("{source:?}").contains("secret"));
    // A new token in the file is used without a restart.
    std::fs::write(&file, "other").unwrap();
    let refused = why(&source.measure(&[]).await);
    assert!(refused.ends_with("answered 401") && !refused.contains("other"), "{refused}");
    std::fs::write(&file, "a\nb").unwrap();
    let unusable = why(&source.measure(&[]).await);
    assert!(unusable.contains("could not read the token") && !unusable.contains("a\nb"), "{unusable}");
}

#[tokio::test]
async fn a_pipe_in_place_of_a_token_file_is_refused_and_holds_up_no_thread() {
    let folder = tempfile::TempDir::new().unwrap();
    let pipe = folder.path().join("token");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let port = answers("200 OK", "", "{\"a\": 1}").await;
    let mut from = page(port, "$.a");
    from["http"]["bearerTokenFile"] = json!(pipe);
    let why = why(&source(&from, "20s").measure(&[]).await);
    assert!(
        why.contains("could not read the token in") && why.ends_with("it is not a regular file"),
        "{why}"
    );
}

#[tokio::test]
async fn requests_do_not_overlap_while_an_answer_is_slow() {
    let (count, mut requests) = tokio::sync::mpsc::unbounded_channel();
    let port = server(move |socket, _| {
        let count = count.clone();
        async move {
            count.send(()).unwrap();
            std::future::pending::<()>().await;
            drop(socket);
        }
    })
    .await;
    let (sender, mut results) = tokio::sync::mpsc::unbounded_channel();
    let spec = json!({"metric": "jobs", "from": page(port, "$.a"), "every": "100ms", "timeout": "400ms"});
    let source = Source::new(Arc::new(serde_json::from_value(spec).unwrap()));
    let run = source.run(7, Vec::new, move |result| sender.send(result).unwrap());
    tokio::select! {
        () = run => unreachable!("it has no end"),
        _ = async { for _ in 0..3 { results.recv().await.unwrap(); } } => {}
    }
    let mut count = 0;
    while requests.try_recv().is_ok() {
        count += 1;
    }
    // Every 100 ms if it did not wait; each request times out after 400 ms.
    assert!((3..=4).contains(&count), "{count}");
}
