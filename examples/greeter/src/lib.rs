//! A small gRPC service: it greets, in all four kinds of calls that gRPC has.
//!
//! What goes over the wire, in the language of protocol buffers:
//!
//! ```text
//! package greeter;
//! message Name { string name = 1; }
//! message Greeting { string words = 1; }
//! service Greeter {
//!   rpc Greet(Name) returns (Greeting);
//!   rpc GreetOften(Name) returns (stream Greeting);
//!   rpc GreetAll(stream Name) returns (Greeting);
//!   rpc GreetEach(stream Name) returns (stream Greeting);
//! }
//! ```

mod service;

pub use generated::greeter_client::GreeterClient;
pub use generated::greeter_server::{Greeter, GreeterServer};
pub use service::{GREETINGS, Host};

#[expect(
    unreachable_pub,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "the generator knows nothing of our lints"
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/greeter.Greeter.rs"));
}

/// Who is to be greeted.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Name {
    /// The name; empty is refused with INVALID_ARGUMENT.
    #[prost(string, tag = "1")]
    pub name: String,
}

/// A greeting.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Greeting {
    /// As it is said.
    #[prost(string, tag = "1")]
    pub words: String,
}
