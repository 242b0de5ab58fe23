//! Exchanges over connections that must be driven.

use std::pin::pin;

use futures_util::future::{Either, select};

use crate::failure::CheckResult;

/// The result of `exchange`, which needs `connection` to be driven.
///
/// The connection may end just as it delivers the answer; then `exchange` still has it.
pub(crate) async fn answer_over(
    connection: impl Future,
    exchange: impl Future<Output = CheckResult>,
) -> CheckResult {
    match select(pin!(exchange), pin!(connection)).await {
        Either::Left((answer, _)) => answer,
        Either::Right((_, exchange)) => exchange.await,
    }
}
