//! The implementation of the service.

use std::pin::Pin;

use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use crate::{Greeter, Greeting, Name};

/// Number of greetings sent by `GreetOften`.
pub const GREETINGS: usize = 5;

/// The service. It signs its greetings, so that replicas can be distinguished.
#[derive(Clone, Debug)]
pub struct Host {
    /// The name in the greetings.
    pub signature: String,
}

type Greetings = Pin<Box<dyn Stream<Item = Result<Greeting, Status>> + Send>>;

impl Host {
    fn greeting(&self, name: &str) -> Result<Greeting, Status> {
        if name.is_empty() {
            return Err(Status::invalid_argument("a name has at least one character"));
        }
        Ok(Greeting { words: format!("Hello, {name}! This is {}.", self.signature) })
    }
}

#[tonic::async_trait]
impl Greeter for Host {
    type GreetOftenStream = Greetings;
    type GreetEachStream = Greetings;

    async fn greet(&self, request: Request<Name>) -> Result<Response<Greeting>, Status> {
        self.greeting(&request.into_inner().name).map(Response::new)
    }

    async fn greet_often(&self, request: Request<Name>) -> Result<Response<Greetings>, Status> {
        let greeting = self.greeting(&request.into_inner().name)?;
        let greetings = tokio_stream::iter(std::iter::repeat_n(Ok(greeting), GREETINGS));
        Ok(Response::new(Box::pin(greetings)))
    }

    async fn greet_all(&self, request: Request<Streaming<Name>>) -> Result<Response<Greeting>, Status> {
        let names: Vec<Name> = request.into_inner().collect::<Result<_, _>>().await?;
        let names: Vec<String> = names.into_iter().map(|name| name.name).collect();
        self.greeting(&names.join(" and ")).map(Response::new)
    }

    async fn greet_each(&self, request: Request<Streaming<Name>>) -> Result<Response<Greetings>, Status> {
        let host = self.clone();
        let greetings = request.into_inner().map(move |name| host.greeting(&name?.name));
        Ok(Response::new(Box::pin(greetings)))
    }
}
