//! A small gRPC service that greets, with all four kinds of gRPC methods.
//!
//! Its definition in protocol buffers:
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
    reason = "generated code does not follow the lints of the workspace"
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/greeter.Greeter.rs"));
}

/// Whom to greet.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Name {
    /// The name; empty is refused with INVALID_ARGUMENT.
    #[prost(string, tag = "1")]
    pub name: String,
}

/// A greeting.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Greeting {
    /// The text of the greeting.
    #[prost(string, tag = "1")]
    pub words: String,
}
