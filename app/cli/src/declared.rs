//! Fetches the resources that are declared on a server.

use api::v1;
use model::resource::Resource;
use serde_json::Value;

use crate::client::{Client, ClientError};
use crate::failure::Failure;
use crate::target::Subject;

/// The declared resource of this kind and name; `None` when there is none, or it is being deleted.
pub(crate) async fn fetch(
    client: &Client,
    subject: Subject,
    name: &str,
) -> Result<Option<Resource>, Failure> {
    match client.get::<v1::Object<Value>>(&format!("{}/{name}", subject.path())).await {
        // A deleted resource whose replicas still run is no longer declared: applying it declares it again.
        Ok(object) if is_terminating(&object.status) => Ok(None),
        Ok(object) => declared(object).map(Some),
        Err(ClientError::Refused(failure)) if failure.code == api::Code::NotFound.as_str() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// All declared resources of this kind.
pub(crate) async fn fetch_all(client: &Client, subject: Subject) -> Result<Vec<Resource>, Failure> {
    let list: v1::List<v1::Object<Value>> = client.get(subject.path()).await?;
    list.items.into_iter().map(declared).collect()
}

/// The declaration of an object.
fn declared(object: v1::Object<Value>) -> Result<Resource, Failure> {
    let mut fields = serde_json::to_value(object)?;
    if let Some(fields) = fields.as_object_mut() {
        fields.remove("status");
    }
    Ok(serde_json::from_value(fields)?)
}

fn is_terminating(status: &Value) -> bool {
    serde_json::from_value::<v1::ServiceStatus>(status.clone()).is_ok_and(|status| status.is_terminating())
}
