//! Queues in Redis. Source: Redis' commands `LLEN`, `ZCARD`, `XLEN` and `XINFO GROUPS`.
//!
//! The crate `redis` encodes the commands and decodes the answers. They are few and sent one after the other, so that none of its
//! connection types, which reconnect and multiplex, is needed.

use model::measure::Labels;
use model::resource::{REDIS_PORT_DEFAULT, RedisOrigin, RedisQueue, RedisStream};
use redis::{Cmd, Value, cmd, parse_redis_value_async};
use tokio::io::AsyncWriteExt as _;

use crate::dial::{Bounded, ByteStream, dial};
use crate::failure::{Failure, sentence, short};
use crate::secret::password;

/// The series of the queue; none when there is no such stream or group.
pub(crate) async fn query(origin: &RedisOrigin) -> Result<Vec<(Labels, f64)>, Failure> {
    let mut session = Session::begin(origin).await?;
    let one = |number: i64| vec![(Labels::new(), number as f64)];
    match &origin.queue {
        RedisQueue::List(key) => session.number(cmd("LLEN").arg(key)).await.map(one),
        RedisQueue::SortedSet(key) => session.number(cmd("ZCARD").arg(key)).await.map(one),
        RedisQueue::Stream(RedisStream { key, group }) => {
            // An empty stream still exists, and `XLEN` is 0 for a missing one, too.
            if session.number(cmd("EXISTS").arg(key)).await? == 0 {
                return Ok(Vec::new());
            }
            match group {
                None => session.number(cmd("XLEN").arg(key)).await.map(one),
                Some(group) => session.group(key, group).await,
            }
        }
    }
}

/// A connection on which commands are sent one at a time.
struct Session {
    stream: Bounded<Box<dyn ByteStream>>,
    authority: String,
}

impl Session {
    async fn begin(origin: &RedisOrigin) -> Result<Self, Failure> {
        let (host, port) = (origin.address.host(), origin.address.port_or(REDIS_PORT_DEFAULT));
        let stream = dial(host, port, origin.tls.as_ref()).await?;
        let mut session = Self { stream: Bounded::new(stream), authority: format!("{host}:{port}") };
        if let Some(from) = &origin.password {
            let password = password(from).await?;
            session.execute(cmd("AUTH").arg(origin.user.as_deref()).arg(password)).await?;
        }
        if origin.database != 0 {
            session.execute(cmd("SELECT").arg(origin.database)).await?;
        }
        Ok(session)
    }

    async fn execute(&mut self, command: &Cmd) -> Result<Value, Failure> {
        let authority = &self.authority;
        let broken = |error: &dyn std::error::Error| Failure::Broken {
            url: authority.clone(),
            why: short(&sentence(error)),
        };
        self.stream.write_all(&command.get_packed_command()).await.map_err(|error| broken(&error))?;
        self.stream.flush().await.map_err(|error| broken(&error))?;
        // The parser reads nothing beyond an answer: the server sends no more until the next command.
        match parse_redis_value_async(&mut Default::default(), &mut self.stream).await {
            Ok(Value::ServerError(error)) => {
                let why = format!("{} {}", error.code(), error.details().unwrap_or_default());
                Err(Failure::Refused { authority: authority.clone(), why: short(why.trim_end()) })
            }
            Ok(value) => Ok(value),
            Err(error) => Err(broken(&error)),
        }
    }

    async fn number(&mut self, command: &Cmd) -> Result<i64, Failure> {
        match self.execute(command).await? {
            Value::Int(number) => Ok(number),
            other => Err(self.no_number(&other)),
        }
    }

    /// The unfinished entries of the group: those not delivered yet, and those delivered and not acknowledged; none
    /// when there is no such group.
    async fn group(&mut self, key: &str, group: &str) -> Result<Vec<(Labels, f64)>, Failure> {
        let answer = self.execute(cmd("XINFO").arg("GROUPS").arg(key)).await?;
        let groups = answer.as_sequence().ok_or_else(|| self.no_number(&answer))?;
        let Some(found) = groups.iter().find(|it| is_text(field(it, "name"), group)) else {
            return Ok(Vec::new());
        };
        let (Some(Value::Int(pending)), lag) = (field(found, "pending"), field(found, "lag")) else {
            return Err(self.no_number(found));
        };
        let Some(Value::Int(lag)) = lag else {
            return Err(Failure::NoLag { authority: self.authority.clone(), group: group.to_owned() });
        };
        let series =
            |state: &str, number: i64| (Labels::from([("state".into(), state.into())]), number as f64);
        Ok(vec![series("pending", *pending), series("waiting", *lag)])
    }

    fn no_number(&self, found: &Value) -> Failure {
        let found = match found {
            Value::Nil => "nothing",
            Value::Array(_) | Value::Map(_) | Value::Set(_) => "a list",
            // The value may be user data and is not shown; `Value` grows with the protocol.
            _ => "a text",
        };
        Failure::Answer { authority: self.authority.clone(), found: found.to_owned() }
    }
}

/// The value beside `name` in a list of names and values.
fn field<'v>(map: &'v Value, name: &str) -> Option<&'v Value> {
    map.as_map_iter()?.find(|(key, _)| is_text(Some(key), name)).map(|(_, value)| value)
}

fn is_text(value: Option<&Value>, text: &str) -> bool {
    match value {
        Some(Value::BulkString(bytes)) => bytes == text.as_bytes(),
        Some(Value::SimpleString(found)) => found == text,
        _ => false,
    }
}
