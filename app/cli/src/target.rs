//! Parses the resources in arguments: `service`, `service/shop`, `replica/shop-3`.

use std::fmt;
use std::str::FromStr;

use model::identity::ReplicaId;
use model::name::{NodeName, ServiceName};
use model::resource::{Kind, ObjectName, Resource};

/// The kinds of resources that commands take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// Services.
    Service,
    /// HorizontalPodAutoscalers.
    Autoscaler,
    /// Routes.
    Route,
    /// Metric sources.
    MetricSource,
    /// Replicas.
    Replica,
    /// Nodes.
    Node,
    /// Comparisons of the autoscalers of services.
    Scaling,
}

impl Subject {
    const ALL: [Self; 7] = [
        Self::Service,
        Self::Autoscaler,
        Self::Route,
        Self::MetricSource,
        Self::Replica,
        Self::Node,
        Self::Scaling,
    ];

    /// The name of the kind in arguments.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Autoscaler => "hpa",
            Self::Route => "route",
            Self::MetricSource => "metricsource",
            Self::Replica => "replica",
            Self::Node => "node",
            Self::Scaling => "scaling",
        }
    }

    /// The path of the API that lists them.
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Service => "/v1/services",
            Self::Autoscaler => "/v1/horizontalpodautoscalers",
            Self::Route => "/v1/routes",
            Self::MetricSource => "/v1/metricsources",
            Self::Replica => "/v1/replicas",
            Self::Node => "/v1/nodes",
            Self::Scaling => "/v1/scaling",
        }
    }

    /// The kind of a declared resource.
    pub(crate) const fn of(resource: &Resource) -> Self {
        match resource {
            Resource::Service(_) => Self::Service,
            Resource::HorizontalPodAutoscaler(_) => Self::Autoscaler,
            Resource::Route(_) => Self::Route,
            Resource::MetricSource(_) => Self::MetricSource,
        }
    }

    /// Parses the singular, plural or short name of a kind, ignoring case.
    fn parse(text: &str) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        match (Kind::parse(text), lower.as_str()) {
            (Some(Kind::Service), _) => Some(Self::Service),
            (Some(Kind::Route), _) => Some(Self::Route),
            (Some(Kind::MetricSource), _) => Some(Self::MetricSource),
            (Some(Kind::HorizontalPodAutoscaler), _) | (None, "autoscaler" | "autoscalers") => {
                Some(Self::Autoscaler)
            }
            (None, "replica" | "replicas") => Some(Self::Replica),
            (None, "node" | "nodes") => Some(Self::Node),
            (None, "scaling") => Some(Self::Scaling),
            (None, _) => None,
        }
    }

    /// Checks that `name` is a valid name for this kind.
    fn check_name(self, name: &str) -> Result<(), String> {
        match self {
            Self::Service | Self::Route | Self::MetricSource | Self::Scaling => {
                ServiceName::parse(name).map(drop).map_err(|error| error.to_string())
            }
            Self::Autoscaler => ObjectName::parse(name).map(drop).map_err(|error| error.to_string()),
            Self::Node => NodeName::parse(name).map(drop).map_err(|error| error.to_string()),
            Self::Replica => ReplicaId::parse(name).map(drop).ok_or_else(|| {
                "a replica is named by its service and its ordinal, such as shop-0".to_owned()
            }),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// All resources of a kind, or one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The kind.
    pub(crate) subject: Subject,
    /// A valid name for this kind; `None` for all resources.
    pub(crate) name: Option<String>,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, name) = match text.split_once('/') {
            Some((kind, name)) => (kind, Some(name)),
            None => (text, None),
        };
        let subject = Subject::parse(kind).ok_or_else(|| {
            let known = Subject::ALL.map(Subject::name).join(", ");
            format!("{kind:?} is not a kind; write one of {known}, or KIND/NAME for one resource")
        })?;
        if let Some(name) = name {
            subject
                .check_name(name)
                .map_err(|why| format!("{name:?} is not the name of a {subject}: {why}"))?;
        }
        Ok(Self { subject, name: name.map(str::to_owned) })
    }
}

/// One resource: `KIND/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ObjectArgument {
    /// The kind.
    pub(crate) subject: Subject,
    /// The name.
    pub(crate) name: String,
}

impl ObjectArgument {
    /// The path of the API for the resource.
    pub(crate) fn path(&self) -> String {
        format!("{}/{}", self.subject.path(), self.name)
    }
}

impl FromStr for ObjectArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Target { subject, name } = text.parse()?;
        let name = name.ok_or_else(|| format!("the name is missing; write {subject}/NAME"))?;
        Ok(Self { subject, name })
    }
}

impl fmt::Display for ObjectArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.subject, self.name)
    }
}

/// One service: `service/NAME`, or its bare name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceArgument(pub(crate) ServiceName);

impl FromStr for ServiceArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = if text.contains('/') {
            let object: ObjectArgument = text.parse()?;
            if object.subject != Subject::Service {
                return Err(format!("{object} is not a service; write service/NAME"));
            }
            object.name
        } else {
            text.to_owned()
        };
        ServiceName::parse(&name)
            .map(Self)
            .map_err(|why| format!("{name:?} is not the name of a service: {why}"))
    }
}

/// One replica: `replica/NAME`, or its bare name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReplicaArgument(pub(crate) ReplicaId);

impl FromStr for ReplicaArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = if text.contains('/') { text.to_owned() } else { format!("replica/{text}") };
        let object: ObjectArgument = text.parse()?;
        let replica = (object.subject == Subject::Replica).then(|| ReplicaId::parse(&object.name)).flatten();
        replica
            .map(Self)
            .ok_or_else(|| format!("{object} is not a replica; write replica/NAME, such as replica/shop-0"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_parsed_from_singular_plural_and_short_names() {
        for (text, subject) in [
            ("service", Subject::Service),
            ("Services", Subject::Service),
            ("svc", Subject::Service),
            ("hpa", Subject::Autoscaler),
            ("HorizontalPodAutoscaler", Subject::Autoscaler),
            ("replicas", Subject::Replica),
            ("nodes", Subject::Node),
        ] {
            assert_eq!(text.parse(), Ok(Target { subject, name: None }), "{text}");
        }
    }

    #[test]
    fn a_name_follows_the_kind_after_a_slash() {
        let shop = Target { subject: Subject::Replica, name: Some("shop-3".into()) };
        assert_eq!("replica/shop-3".parse(), Ok(shop));
        assert!("service".parse::<ObjectArgument>().unwrap_err().contains("service/NAME"));
        assert_eq!("shop".parse::<ServiceArgument>(), "svc/shop".parse::<ServiceArgument>());
    }

    #[test]
    fn an_invalid_name_never_reaches_a_url() {
        for wrong in [
            "service/",
            "service/../nodes",
            "service/a b",
            "replica/shop",
            "node/a?x",
            "thing",
            "service/a/b",
        ] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
        assert!("replica/shop-3".parse::<ServiceArgument>().is_err());
        assert!("service/shop".parse::<ReplicaArgument>().unwrap_err().contains("replica/NAME"));
        assert_eq!("shop-3".parse::<ReplicaArgument>(), "replica/shop-3".parse::<ReplicaArgument>());
    }
}
