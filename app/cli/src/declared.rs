//! Resources as a server keeps them.

use api::v1;
use model::resource::Resource;
use serde_json::Value;

use crate::client::{AskError, Client};
use crate::failure::Failure;
use crate::target::Subject;

/// The resource of this kind and name that the server keeps; `None` when there is none, or it is being deleted.
pub(crate) async fn kept(client: &Client, subject: Subject, name: &str) -> Result<Option<Resource>, Failure> {
    match client.get::<v1::Object<Value>>(&format!("{}/{name}", subject.path())).await {
        // What is deleted and not gone yet is not kept: applying it declares it anew.
        Ok(object) if is_terminating(&object.status) => Ok(None),
        Ok(object) => declared(object).map(Some),
        Err(AskError::Refused(failure)) if failure.code == api::Code::NotFound.as_str() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// All resources of this kind that the server keeps.
pub(crate) async fn all_kept(client: &Client, subject: Subject) -> Result<Vec<Resource>, Failure> {
    let list: v1::List<v1::Object<Value>> = client.get(subject.path()).await?;
    list.items.into_iter().map(declared).collect()
}

/// What was declared of it.
fn declared(object: v1::Object<Value>) -> Result<Resource, Failure> {
    let mut written = serde_json::to_value(object)?;
    if let Some(fields) = written.as_object_mut() {
        fields.remove("status");
    }
    Ok(serde_json::from_value(written)?)
}

fn is_terminating(status: &Value) -> bool {
    serde_json::from_value::<v1::ServiceStatus>(status.clone()).is_ok_and(|status| status.is_terminating())
}
