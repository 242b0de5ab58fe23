//! Generates the code of the service from its methods, without protoc.

use tonic_build::manual::{Builder, Method, Service};

fn method(name: &str, route: &str, input: &str, output: &str) -> tonic_build::manual::MethodBuilder {
    Method::builder()
        .name(name)
        .route_name(route)
        .input_type(input)
        .output_type(output)
        .codec_path("tonic_prost::ProstCodec")
}

fn main() {
    let greeter = Service::builder()
        .name("Greeter")
        .package("greeter")
        .method(method("greet", "Greet", "crate::Name", "crate::Greeting").build())
        .method(
            method("greet_often", "GreetOften", "crate::Name", "crate::Greeting").server_streaming().build(),
        )
        .method(method("greet_all", "GreetAll", "crate::Name", "crate::Greeting").client_streaming().build())
        .method(
            method("greet_each", "GreetEach", "crate::Name", "crate::Greeting")
                .client_streaming()
                .server_streaming()
                .build(),
        )
        .build();
    Builder::new().compile(&[greeter]);
}
