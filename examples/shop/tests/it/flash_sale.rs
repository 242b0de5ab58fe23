//! The flash sale that the shop is started by: its manifests are valid, and say what its README says.

use std::path::PathBuf;
use std::time::Duration;

use manifest::Input;
use model::resource::check::Severity;
use model::resource::{
    AutoscalerSpec, MeteredResource, MetricSpec, Percent, Resource, ResourceTarget, Service,
};

use crate::process::Process;

fn flash_sale() -> (Service, AutoscalerSpec) {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../flash-sale"));
    let mut manifests = manifest::read(&[Input::Path(folder)], &mut std::io::empty());
    manifests.check(&[], Severity::Error);
    let said: Vec<String> = manifests.diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(said, [""; 0]);
    let (mut services, mut autoscalers) = (Vec::new(), Vec::new());
    for resource in manifests.resources().cloned() {
        match resource {
            Resource::Service(service) => services.push(service),
            Resource::HorizontalPodAutoscaler(hpa) => {
                autoscalers.push(hpa.autoscaler().expect("it was checked"))
            }
        }
    }
    let (Some(service), Some(autoscaler)) = (services.pop(), autoscalers.pop()) else {
        panic!("a service and an autoscaler are there")
    };
    assert!(services.is_empty() && autoscalers.is_empty(), "one service and one autoscaler are there");
    (service, autoscaler)
}

#[test]
fn the_autoscaler_keeps_two_to_ten_replicas_at_half_of_their_cpu() {
    let (service, autoscaler) = flash_sale();
    assert_eq!((autoscaler.min, autoscaler.max), (2, 10));
    assert_eq!(&autoscaler.service, service.name());
    let half_of_cpu = MetricSpec::Resource {
        resource: MeteredResource::Cpu,
        target: ResourceTarget::Utilization(Percent(50)),
    };
    assert_eq!(autoscaler.metrics, [half_of_cpu]);
    let behavior = autoscaler.behavior.expect("the annotation is read");
    assert_eq!(behavior.scale_up.stabilization, Duration::ZERO);
    assert_eq!(behavior.scale_down.stabilization, Duration::from_secs(10));
}

#[test]
fn all_replicas_at_their_limit_leave_half_a_core_of_two() {
    let (service, autoscaler) = flash_sale();
    let cpu = service.spec.resources.cpu.expect("the base of the utilization");
    assert_eq!(cpu.milli() * i64::from(autoscaler.max), 1_500);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_starts_a_shop_that_opens() {
    let (service, _) = flash_sale();
    let (program, options) = service.spec.run.command.split_first().expect("a command has a program");
    assert!(program.ends_with("/shop"), "{program}");
    let options: Vec<&str> =
        options.iter().map(|option| if option == "$(PORT_HTTP)" { "0" } else { option }).collect();
    assert!(options.contains(&"0"), "it listens where it is told to");
    Process::start_exactly(&options).opens().await;
}
