use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use proptest::prelude::*;

use super::*;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

fn one(line: &str) -> Result<(String, Labels, f64), &'static str> {
    sample(line).map(|it| (it.name, it.labels, it.value))
}

/// The example of the documentation of the format, with all that it may hold.
const DOCUMENTED: &str = r#"
# HELP http_requests_total The total number of HTTP requests.
# TYPE http_requests_total counter
http_requests_total{method="post",code="200"} 1027 1395066363000
http_requests_total{method="post",code="400"}    3 1395066363000

# Escaping in label values:
msdos_file_access_time_seconds{path="C:\\DIR\\FILE.TXT",error="Cannot find file:\n\"FILE.TXT\""} 1.458255915e9

# Minimalistic line:
metric_without_timestamp_and_labels 12.47

# A weird metric from before the epoch:
something_weird{problem="division by zero"} +Inf -3982045

# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{le="0.05"} 24054
http_request_duration_seconds_bucket{le="+Inf"} 144320
http_request_duration_seconds_sum 53423
http_request_duration_seconds_count 144320

# TYPE rpc_duration_seconds summary
rpc_duration_seconds{quantile="0.01"} 3102
rpc_duration_seconds_count 2693
"#;

#[test]
fn the_documented_example_is_read_whole() {
    let samples = read(DOCUMENTED, Form::Prometheus).unwrap();
    assert_eq!(samples.len(), 11);
    let escaped = &samples[2];
    assert_eq!(
        escaped.labels,
        labels(&[("path", "C:\\DIR\\FILE.TXT"), ("error", "Cannot find file:\n\"FILE.TXT\"")])
    );
    assert_eq!(samples[4].value, f64::INFINITY);
    let cumulative: Vec<bool> = samples.iter().map(|sample| sample.is_cumulative).collect();
    assert_eq!(cumulative, [true, true, false, false, false, true, true, true, true, false, true]);
}

#[test]
fn openmetrics_families_have_no_total_suffix_and_the_text_has_an_end_mark() {
    let page =
        "# TYPE foo counter\n# UNIT foo seconds\nfoo_total 17.0 1520879607.789 # {id=\"a\"} 0.5 1.5\n# EOF\n";
    let samples = read(page, Form::OpenMetrics).unwrap();
    assert!(samples[0].is_cumulative && samples[0].name == "foo_total" && samples[0].value == 17.0);
    let cut_off = page.strip_suffix("# EOF\n").unwrap();
    assert!(read(cut_off, Form::OpenMetrics).unwrap_err().why.contains("truncated"));
    assert!(read(&format!("{page}foo_total 1"), Form::OpenMetrics).unwrap_err().why.contains("after # EOF"));
}

#[test]
fn quoted_names_may_have_any_characters() {
    assert_eq!(one(r#"{"my.metric", "a.b"="c"} 1"#), Ok(("my.metric".into(), labels(&[("a.b", "c")]), 1.0)));
    assert_eq!(one(r"a { b = 'c' } 1"), Err("label value without quotes"));
    assert_eq!(one(r#"a{b="c",} NaN"#).unwrap().1, labels(&[("b", "c")]));
}

#[test]
fn malformed_text_is_reported_with_its_line() {
    for (page, line, why) in [
        ("<!DOCTYPE html>\n", 1, "invalid metric name"),
        ("a 1\n{\"json\": 1}\n", 2, "missing comma between labels"),
        ("a 1\n{b}\n", 2, "label without a value"),
        ("a\n", 1, "expected a number"),
        ("a 1 2 3\n", 1, "text after the sample"),
        ("a{b=\"c} 1\n", 1, "unterminated quoted string"),
        ("a{b=\"c\" d=\"e\"} 1\n", 1, "missing comma between labels"),
        ("a{b=\"c\",b=\"d\"} 1\n", 1, "duplicate label"),
        ("a{1b=\"c\"} 1\n", 1, "invalid label name"),
        ("# TYPE a thing\n", 1, "unknown metric type"),
        ("a 1 # 2\n", 1, "text after # is not an exemplar"),
        ("{} 1\n", 1, "sample without a name"),
    ] {
        assert_eq!(read(page, Form::Prometheus), Err(Malformed { line, why }), "{page:?}");
    }
}

#[test]
fn the_output_of_prometheus_client_is_read() {
    let mut registry = Registry::default();
    let requests = Family::<Vec<(String, String)>, Counter>::default();
    registry.register("requests", "Requests", requests.clone());
    let queue = Gauge::<i64>::default();
    registry.register("queue", "Length", queue.clone());
    let seconds = Histogram::new([0.1, 1.0]);
    registry.register("seconds", "How long", seconds.clone());
    requests.get_or_create(&vec![("path".to_owned(), "a \"b\" \\ c\nd".to_owned())]).inc_by(7);
    queue.set(-3);
    seconds.observe(0.5);
    let mut page = String::new();
    encode(&mut page, &registry).unwrap();
    let samples = read(&page, Form::OpenMetrics).unwrap();
    let find = |name: &str| samples.iter().find(|sample| sample.name == name).unwrap();
    assert_eq!(find("requests_total").labels, labels(&[("path", "a \"b\" \\ c\nd")]));
    assert_eq!((find("requests_total").value, find("requests_total").is_cumulative), (7.0, true));
    assert_eq!((find("queue").value, find("queue").is_cumulative), (-3.0, false));
    assert_eq!((find("seconds_count").value, find("seconds_count").is_cumulative), (1.0, true));
}

fn text() -> impl Strategy<Value = String> {
    proptest::collection::vec(prop_oneof![any::<char>(), Just('"'), Just('\\'), Just('\n'), Just('}')], 0..12)
        .prop_map(|characters| characters.into_iter().collect())
}

proptest! {
    #[test]
    fn written_samples_are_read_back(
        name in "[a-zA-Z_:][a-zA-Z0-9_:]{0,10}",
        pairs in proptest::collection::btree_map("[a-zA-Z_][a-zA-Z0-9_]{0,5}", text(), 0..5),
        value: f64,
    ) {
        let escape = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let written: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect();
        let (read_name, read_labels, read_value) = one(&format!("{name}{{{}}} {value:?}", written.join(","))).unwrap();
        prop_assert_eq!(read_name, name);
        let read_pairs: BTreeMap<String, String> =
            read_labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        prop_assert_eq!(read_pairs, pairs);
        prop_assert!(read_value == value || (read_value.is_nan() && value.is_nan()));
    }

    #[test]
    fn nothing_makes_it_panic(page in ".{0,60}", form in prop_oneof![Just(Form::Prometheus), Just(Form::OpenMetrics)]) {
        let _ = read(&page, form);
    }
}
