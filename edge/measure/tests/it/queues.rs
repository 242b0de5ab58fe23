//! Queues in a real Redis and a real PostgreSQL.

use model::measure::{MeasurementResult, Series};
use serde_json::{Value, json};

use crate::servers::{PASSWORD, Server, USER};
use crate::{server, source, values, why};

/// A query to a Redis.
fn redis(at: &Server, queue: &Value) -> Value {
    let password = at.write("password", &format!("{PASSWORD}\n"));
    json!({"redis": {"address": format!("127.0.0.1:{}", at.port), "password": {"file": password}, "queue": queue}})
}

/// A query to a PostgreSQL.
fn postgres(at: &Server, query: &str) -> Value {
    let password = at.write("password", &format!("{PASSWORD}\n"));
    let address = format!("127.0.0.1:{}", at.port);
    json!({"postgres": {
        "address": address, "user": USER, "password": {"file": password}, "database": "postgres", "query": query
    }})
}

async fn measured(from: &Value) -> MeasurementResult {
    source(from, "60s").measure(&[]).await
}

/// The series by their label `state`.
fn states(result: &MeasurementResult) -> Vec<(&str, i64)> {
    let MeasurementResult::Series(series) = result else { panic!("no series: {result:?}") };
    series.iter().map(|Series { labels, value }| (&*labels["state"], value.0)).collect()
}

#[tokio::test]
async fn queues_in_redis_are_counted_and_absent_empty_and_wrong_ones_distinguished() {
    let server = Server::redis();
    let count = async |queue: Value| measured(&redis(&server, &queue)).await;
    server.ask(&["RPUSH", "mails", "a", "b", "c"]);
    server.ask(&["ZADD", "delayed", "1", "a", "2", "b"]);
    server.ask(&["XADD", "jobs", "1-1", "a", "b"]);
    server.ask(&["XADD", "jobs", "1-2", "a", "b"]);
    server.ask(&["XADD", "jobs", "1-3", "a", "b"]);
    assert_eq!(values(&count(json!({"list": "mails"})).await), [3000]);
    assert_eq!(values(&count(json!({"sortedSet": "delayed"})).await), [2000]);
    assert_eq!(values(&count(json!({"stream": {"key": "jobs"}})).await), [3000]);

    // Redis deletes an empty list, but not an empty stream: only for a stream an empty queue differs from a missing one.
    server.ask(&["DEL", "mails"]);
    assert_eq!(values(&count(json!({"list": "mails"})).await), [0]);
    assert_eq!(count(json!({"stream": {"key": "nothing"}})).await, MeasurementResult::Series(Vec::new()));
    server.ask(&["XTRIM", "jobs", "MAXLEN", "0"]);
    assert_eq!(values(&count(json!({"stream": {"key": "jobs"}})).await), [0]);

    let wrong = why(&count(json!({"list": "jobs"})).await);
    assert!(wrong.contains("refused: WRONGTYPE"), "{wrong}");
}

#[tokio::test]
async fn unfinished_entries_of_a_group_are_waiting_or_pending() {
    let server = Server::redis();
    let group = || redis(&server, &json!({"stream": {"key": "jobs", "group": "mailers"}}));
    assert_eq!(measured(&group()).await, MeasurementResult::Series(Vec::new()), "there is no such stream");
    for id in ["1-1", "1-2", "1-3"] {
        server.ask(&["XADD", "jobs", id, "a", "b"]);
    }
    assert_eq!(measured(&group()).await, MeasurementResult::Series(Vec::new()), "there is no such group");
    server.ask(&["XGROUP", "CREATE", "jobs", "mailers", "0"]);
    server.ask(&["XGROUP", "CREATE", "jobs", "others", "$"]);
    assert_eq!(states(&measured(&group()).await), [("pending", 0), ("waiting", 3000)]);
    server.ask(&["XREADGROUP", "GROUP", "mailers", "me", "COUNT", "2", "STREAMS", "jobs", ">"]);
    assert_eq!(states(&measured(&group()).await), [("pending", 2000), ("waiting", 1000)]);
    server.ask(&["XACK", "jobs", "mailers", "1-1", "1-2"]);
    assert_eq!(states(&measured(&group()).await), [("pending", 0), ("waiting", 1000)]);

    // Redis does not know the lag once an entry in the middle was deleted, and reports none.
    server.ask(&["XADD", "jobs", "1-4", "a", "b"]);
    server.ask(&["XDEL", "jobs", "1-3"]);
    let unknown = why(&measured(&group()).await);
    assert!(unknown.contains("does not report the lag of the group \"mailers\""), "{unknown}");
}

#[tokio::test]
async fn redis_is_queried_as_a_user_in_a_database_and_over_tls() {
    let server = Server::redis();
    server.ask(&["-n", "3", "RPUSH", "mails", "a"]);
    server.ask(&["ACL", "SETUSER", "watcher", "on", ">other password", "~mails", "+llen", "+select"]);
    let mut from = redis(&server, &json!({"list": "mails"}));
    let redis = &mut from["redis"];
    redis["address"] = json!(format!("localhost:{}", server.tls_port));
    redis["tls"] = json!({"caFile": server.certificate()});
    redis["database"] = json!(3);
    redis["user"] = json!("watcher");
    redis["password"] = json!({"file": server.write("other", "other password")});
    assert_eq!(values(&measured(&from).await), [1000]);

    from["redis"]["queue"] = json!({"sortedSet": "mails"});
    let forbidden = why(&measured(&from).await);
    assert!(forbidden.contains("refused: NOPERM"), "{forbidden}");
    from["redis"]["tls"] = json!({});
    let unknown = why(&measured(&from).await);
    assert!(unknown.starts_with("could not speak TLS with localhost:"), "{unknown}");
}

#[tokio::test]
async fn a_wrong_password_is_reported_but_never_shown() {
    let (redis_server, postgres_server) = (Server::redis(), Server::postgres());
    let wrong = redis_server.write("wrong", "hunter2");
    let by_redis = |password: Value| {
        let mut from = redis(&redis_server, &json!({"list": "mails"}));
        from["redis"]["password"] = password;
        from
    };
    let by_postgres = |password: Value| {
        let mut from = postgres(&postgres_server, "select 1");
        from["postgres"]["password"] = password;
        from
    };
    for (from, sentence) in [
        (by_redis(json!({"file": wrong})), "refused: WRONGPASS"),
        (by_redis(Value::Null), "refused: NOAUTH"),
        (by_postgres(json!({"file": wrong})), "refused: password authentication failed for user \"owner\""),
        (by_postgres(Value::Null), "password missing"),
        (by_redis(json!({"variable": "NO_SUCH_PASSWORD"})), "in the environment variable NO_SUCH_PASSWORD"),
        (by_redis(json!({"file": "/nowhere/word"})), "could not read the password in /nowhere/word"),
    ] {
        let mut source = source(&from, "60s");
        let why = why(&source.measure(&[]).await);
        assert!(why.contains(sentence) && !why.contains("hunter2"), "{why}");
        assert!(!format!("{source:?}").contains("hunter2"));
    }
    // Every process has PATH; the refusal shows that its value was sent.
    let path = std::env!("PATH");
    let refused = why(&measured(&by_redis(json!({"variable": "PATH"}))).await);
    assert!(refused.contains("refused: WRONGPASS") && !refused.contains(path), "{refused}");
}

#[tokio::test]
async fn a_query_gives_one_number_and_changes_nothing() {
    let server = Server::postgres();
    let made = server.query(
        "create table jobs (id int generated always as identity, taken timestamptz);
         insert into jobs (taken) values (null), (null), (now());
         create function take() returns bigint language sql as 'insert into jobs (taken) values (null) returning id';",
    );
    assert!(made.status.success(), "{made:?}");
    for (query, expected) in [
        ("select count(*) from jobs where taken is null", vec![2000]),
        ("SELECT count(*) FROM jobs WHERE id > 100;\n", vec![0]),
        ("select 12.3456::numeric -- of all\n", vec![12_346]),
        ("with found as (select 1.5::float8 as x) select x from found", vec![1500]),
        ("values ('7')", vec![7000]),
        // There is nothing of which there could be a number.
        ("select sum(id) from jobs where id > 100", vec![]),
        ("select id from jobs where id > 100", vec![]),
    ] {
        assert_eq!(values(&measured(&postgres(&server, query)).await), expected, "{query}");
    }
    for (query, sentence) in [
        ("select 'many'", "answered the text \"many\" instead of one number"),
        ("select 'NaN'::float8", "the value of jobs cannot be used: NaN is not a number"),
        ("select id from jobs", "more than one row returned by a subquery"),
        ("select 1, 2", "subquery must return only one column"),
        ("select 1); delete from jobs; select (1", "cannot insert multiple commands"),
        ("delete from jobs returning id", "refused: "),
        ("select take()", "cannot execute INSERT in a read-only transaction"),
        ("select set_config('transaction_read_only', 'off', true)", "refused: "),
        ("select count(*) from works", "relation \"works\" does not exist"),
        ("select repeat('1', 8000000)", "longer than 4194304 bytes"),
    ] {
        let why = why(&measured(&postgres(&server, query)).await);
        assert!(why.contains(sentence), "{query}: {why}");
    }
    assert_eq!(values(&measured(&postgres(&server, "select count(*) from jobs")).await), [3000]);

    let mut secured = postgres(&server, "select ssl::int from pg_stat_ssl where pid = pg_backend_pid()");
    assert_eq!(values(&measured(&secured).await), [0]);
    secured["postgres"]["tls"] = json!({"caFile": server.certificate()});
    assert_eq!(values(&measured(&secured).await), [1000]);
    secured["postgres"]["tls"] = json!({});
    let unknown = why(&measured(&secured).await);
    assert!(unknown.starts_with("could not speak TLS with 127.0.0.1:"), "{unknown}");
}

#[tokio::test]
async fn a_slow_query_is_cancelled_at_the_server() {
    let server = Server::postgres();
    let slow = postgres(&server, "select 1 from pg_sleep(600)");
    let why = why(&source(&slow, "1s").measure(&[]).await);
    // The client or the server may time out first.
    assert!(why.contains("did not answer within 1s") || why.contains("statement timeout"), "{why}");
    let running = "select count(*) from pg_stat_activity where query like '%pg_sleep(600)%' and pid <> pg_backend_pid() \
                   and state = 'active'";
    while values(&measured(&postgres(&server, running)).await) != [0] {}
}

#[tokio::test]
async fn a_hanging_or_killed_server_gives_no_number_and_is_tried_again() {
    for (mut server, from) in [Server::redis(), Server::postgres()]
        .into_iter()
        .zip([(|server| redis(server, &json!({"list": "mails"}))) as fn(&Server) -> Value, |server| {
            postgres(server, "select 0")
        }])
    {
        let from = from(&server);
        let port = server.port;
        let (mut patient, mut hasty) = (source(&from, "60s"), source(&from, "200ms"));
        assert_eq!(values(&patient.measure(&[]).await), [0]);
        server.hang();
        let silent = why(&hasty.measure(&[]).await);
        assert_eq!(
            silent,
            format!("127.0.0.1:{port} did not answer within 200ms; raise the timeout or request less")
        );
        server.resume();
        assert_eq!(values(&patient.measure(&[]).await), [0]);
        server.kill();
        let gone = why(&patient.measure(&[]).await);
        assert!(gone.contains(&format!("could not connect to 127.0.0.1:{port}")), "{gone}");
    }
}

/// A server that accepts every connection and sends `bytes` again and again.
async fn speaks(bytes: &'static [u8]) -> u16 {
    use tokio::io::AsyncWriteExt as _;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move { while socket.write_all(bytes).await.is_ok() {} });
        }
    });
    port
}

#[tokio::test]
async fn servers_of_another_protocol_or_with_endless_answers_are_disconnected() {
    let redis =
        |port: u16| json!({"redis": {"address": format!("127.0.0.1:{port}"), "queue": {"list": "a"}}});
    let postgres = |port: u16| json!({"postgres": {"address": format!("127.0.0.1:{port}"), "user": "me", "query": "select 1"}});
    let web = speaks(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    for from in [redis(web), postgres(web)] {
        let why = why(&measured(&from).await);
        assert!(why.starts_with(&format!("127.0.0.1:{web} was not answered: ")), "{why}");
    }
    for (bytes, sentence) in [
        (&b"+OK\r\n"[..], "answered a text instead of one number"),
        (b"$-1\r\n", "answered nothing instead of one number"),
        (b"*1\r\n:1\r\n", "answered a list instead of one number"),
        (b":12e3\r\n", "was not answered: "),
        (b"$4000000000000\r\n", "longer than 4194304 bytes"),
        (b"*1000000000\r\n", "was not answered: "),
        (b"endless", "was not answered: "),
    ] {
        let why = why(&measured(&redis(speaks(bytes).await)).await);
        assert!(why.contains(sentence), "{bytes:?}: {why}");
    }
    // A notice, which may come at any time.
    let notices = speaks(b"N\0\0\0\x0aMwords\0").await;
    let why = why(&measured(&postgres(notices)).await);
    assert!(why.contains("longer than 4194304 bytes") || why.contains("unexpected message"), "{why}");
}

#[tokio::test]
async fn a_silent_server_is_disconnected_after_the_timeout() {
    let silent = server(|socket, _| async move {
        std::future::pending::<()>().await;
        drop(socket);
    })
    .await;
    let address = format!("127.0.0.1:{silent}");
    for from in [
        json!({"redis": {"address": address, "queue": {"list": "a"}}}),
        json!({"postgres": {"address": address, "user": "me", "query": "select 1"}}),
        json!({"postgres": {"address": address, "user": "me", "query": "select 1", "tls": {}}}),
    ] {
        let why = why(&source(&from, "50ms").measure(&[]).await);
        assert!(why.contains("did not answer within 50ms"), "{why}");
    }
}
