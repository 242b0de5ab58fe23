//! Metrics that replicas expose.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use measure::Replica;
use model::identity::{Incarnation, Ordinal};
use model::measure::{MeasurementResult, ReplicaMeasurement};
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::{answers, server, source};

fn replica(place: u32, port: u16) -> Replica {
    Replica { ordinal: Ordinal(place), incarnation: Incarnation(1), port: Some(port) }
}

fn from() -> serde_json::Value {
    json!({"replicas": {"service": "shop", "window": "10s"}})
}

/// By place: the values, or why there are none.
fn by_place(result: MeasurementResult) -> Vec<(u32, Result<Vec<i64>, String>)> {
    let MeasurementResult::Replicas(mut all) = result else { panic!("it is of replicas: {result:?}") };
    all.sort_by_key(|replica| replica.ordinal);
    let one = |ReplicaMeasurement { ordinal, result, .. }: ReplicaMeasurement| {
        let values = result.map(|series| series.iter().map(|series| series.value.0).collect());
        (ordinal.0, values.map_err(|why| why.to_string()))
    };
    all.into_iter().map(one).collect()
}

#[tokio::test]
async fn each_replica_has_its_own_result() {
    let good = answers("200 OK", "", "# TYPE jobs gauge\njobs 4\nother 1\n").await;
    let page = "# TYPE jobs gauge\njobs{q=\"a\"} 1\njobs{q=\"b\"} 2\n# EOF\n";
    let open = answers("200 OK", "content-type: application/openmetrics-text; version=1.0.0\r\n", page).await;
    let html = answers("200 OK", "content-type: text/html\r\n", "<html>").await;
    let none = Replica { port: None, ..replica(3, 0) };
    let all = [replica(0, good), replica(1, open), replica(2, html), none];
    let result = by_place(source(&from(), "20s").measure(&all).await);
    assert_eq!(result[0], (0, Ok(vec![4000])));
    assert_eq!(result[1], (1, Ok(vec![1000, 2000])));
    let why = result[2].1.as_ref().unwrap_err();
    assert!(
        why.contains("(text/html) is not in the text format of metrics: line 1: invalid metric name"),
        "{why}"
    );
    assert_eq!(result[3], (3, Err("the replica has no such port".to_owned())));
}

#[tokio::test]
async fn a_truncated_page_is_refused() {
    let port = answers("200 OK", "content-type: application/openmetrics-text\r\n", "jobs 4\n").await;
    let result = by_place(source(&from(), "20s").measure(&[replica(0, port)]).await);
    assert!(result[0].1.as_ref().unwrap_err().contains("truncated"), "{result:?}");
}

#[tokio::test]
async fn a_counter_is_a_rate_from_its_second_reading_on() {
    let count = Arc::new(AtomicU64::new(100));
    let shown = Arc::clone(&count);
    let port = server(move |mut socket, _| {
        let body = format!("# TYPE jobs counter\njobs {}\n", shown.load(Ordering::SeqCst));
        async move {
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    })
    .await;
    let mut source = source(&from(), "20s");
    // Read once, it has no rate, which is not zero.
    assert_eq!(by_place(source.measure(&[replica(0, port)]).await), [(0, Ok(vec![]))]);
    assert_eq!(by_place(source.measure(&[replica(0, port)]).await), [(0, Ok(vec![0]))]);
    count.store(150, Ordering::SeqCst);
    let result = by_place(source.measure(&[replica(0, port)]).await);
    assert!(matches!(&result[..], [(0, Ok(values))] if values.len() == 1 && values[0] > 0), "{result:?}");
    // The rates of another incarnation start without history.
    let next = Replica { incarnation: Incarnation(2), ..replica(0, port) };
    assert_eq!(by_place(source.measure(&[next]).await), [(0, Ok(vec![]))]);
}
