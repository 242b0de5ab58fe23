//! What a command is about: `service`, `service/shop`, `replica/shop-3`.

use std::fmt;
use std::str::FromStr;

use model::identity::ReplicaId;
use model::name::{NodeName, ServiceName};
use model::resource::{Kind, ObjectName, Resource};

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// Services.
    Service,
    /// HorizontalPodAutoscalers.
    Autoscaler,
    /// Routes.
    Route,
    /// Sources of metrics.
    MetricSource,
    /// Replicas.
    Replica,
    /// Nodes.
    Node,
    /// How the autoscalers of services compare.
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

    /// The word for one.
    pub(crate) const fn word(self) -> &'static str {
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

    /// Where the API has all of them.
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

    /// What a manifest declares.
    pub(crate) const fn of(resource: &Resource) -> Self {
        match resource {
            Resource::Service(_) => Self::Service,
            Resource::HorizontalPodAutoscaler(_) => Self::Autoscaler,
            Resource::Route(_) => Self::Route,
            Resource::MetricSource(_) => Self::MetricSource,
        }
    }

    /// What people mean by `text`: one, several, or the short name, in any case.
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

    /// Whether one of these may be called `name`; why not, if not.
    fn check(self, name: &str) -> Result<(), String> {
        match self {
            Self::Service | Self::Route | Self::MetricSource | Self::Scaling => {
                ServiceName::parse(name).map(drop).map_err(|error| error.to_string())
            }
            Self::Autoscaler => ObjectName::parse(name).map(drop).map_err(|error| error.to_string()),
            Self::Node => NodeName::parse(name).map(drop).map_err(|error| error.to_string()),
            Self::Replica => ReplicaId::parse(name)
                .map(drop)
                .ok_or_else(|| "a replica is named by its service and its place, such as shop-0".to_owned()),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// All of a kind, or one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Which kind.
    pub(crate) subject: Subject,
    /// Which one, a name that this kind can have; none for all.
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
            let known = Subject::ALL.map(Subject::word).join(", ");
            format!("{kind:?} is no kind; write one of {known}, and KIND/NAME for one of them")
        })?;
        if let Some(name) = name {
            subject.check(name).map_err(|why| format!("{name:?} is no name of a {subject}: {why}"))?;
        }
        Ok(Self { subject, name: name.map(str::to_owned) })
    }
}

/// One thing: `KIND/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ObjectArgument {
    /// Which kind.
    pub(crate) subject: Subject,
    /// Which one.
    pub(crate) name: String,
}

impl ObjectArgument {
    /// Where the API has it.
    pub(crate) fn path(&self) -> String {
        format!("{}/{}", self.subject.path(), self.name)
    }
}

impl FromStr for ObjectArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Target { subject, name } = text.parse()?;
        let name = name.ok_or_else(|| format!("write which one: {subject}/NAME"))?;
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
            let one: ObjectArgument = text.parse()?;
            if one.subject != Subject::Service {
                return Err(format!("{one} is no service; write service/NAME"));
            }
            one.name
        } else {
            text.to_owned()
        };
        ServiceName::parse(&name).map(Self).map_err(|why| format!("{name:?} is no name of a service: {why}"))
    }
}

/// One replica: `replica/NAME`, or its bare name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReplicaArgument(pub(crate) ReplicaId);

impl FromStr for ReplicaArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = if text.contains('/') { text.to_owned() } else { format!("replica/{text}") };
        let one: ObjectArgument = text.parse()?;
        let found = (one.subject == Subject::Replica).then(|| ReplicaId::parse(&one.name)).flatten();
        found.map(Self).ok_or_else(|| format!("{one} is no replica; write replica/NAME, as replica/shop-0"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_known_by_their_plural_and_short_names() {
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
    fn one_of_a_kind_is_named_after_a_slash() {
        let shop = Target { subject: Subject::Replica, name: Some("shop-3".into()) };
        assert_eq!("replica/shop-3".parse(), Ok(shop));
        assert!("service".parse::<ObjectArgument>().unwrap_err().contains("service/NAME"));
        assert_eq!("shop".parse::<ServiceArgument>(), "svc/shop".parse::<ServiceArgument>());
    }

    #[test]
    fn what_cannot_be_a_name_never_reaches_a_url() {
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
