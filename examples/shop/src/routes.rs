//! The HTTP routes of the shop.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::catalogue::{Catalogue, Cents};
use crate::counters::{Outcome, Page};
use crate::pages;
use crate::shop::{Phase, Shop};
use crate::work::CpuBudget;

/// Most bytes of a body: twice the largest accepted cart.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// Most lines of a cart.
const CART_LINES_MAX: usize = 100;

/// Most pieces of a product in a cart.
const QUANTITY_MAX: u32 = 1_000;

/// Most characters of a search query; the rest is ignored.
const QUERY_CHARS_MAX: usize = 200;

/// Most MiB to allocate or leak at a time.
pub(crate) const MIB_MAX: i64 = 1_024;

/// Returns the pages, the probes and the metrics.
pub(crate) fn pages(shop: Arc<Shop>) -> Router {
    Router::new()
        .route("/", get(front))
        .route("/product/{id}", get(product))
        .route("/search", get(search))
        .route("/cart", post(cart))
        .route("/checkout", post(checkout))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(Arc::clone(&shop))
        .merge(admin(shop))
}

/// Returns only the probes and the metrics.
pub(crate) fn admin(shop: Arc<Shop>) -> Router {
    Router::new()
        .route("/healthz", get(readiness))
        .route("/livez", get(async || "ok\n"))
        .route("/metrics", get(metrics))
        .with_state(shop)
}

/// Returns the routes that cause faults.
pub(crate) fn chaos(shop: Arc<Shop>) -> Router {
    Router::new()
        .route("/chaos/crash", post(crash))
        .route("/chaos/hang", post(async |State(shop): State<Arc<Shop>>| shop.enter(Phase::Hung)))
        .route("/chaos/unready", post(async |State(shop): State<Arc<Shop>>| shop.enter(Phase::Unready)))
        .route("/chaos/leak", post(leak))
        .with_state(shop)
}

/// Lets every request wait forever while the shop is in phase `Hung`.
pub(crate) fn with_hang(app: Router, shop: &Arc<Shop>) -> Router {
    app.layer(middleware::from_fn_with_state(Arc::clone(shop), hang))
}

async fn hang(State(shop): State<Arc<Shop>>, request: Request, next: Next) -> Response {
    if shop.phase() == Phase::Hung {
        return std::future::pending().await;
    }
    next.run(request).await
}

async fn front(State(shop): State<Arc<Shop>>) -> Response {
    make(&shop, Page::Front, |catalogue, budget| Ok(Html(pages::front(&catalogue.shelf_for("", budget)))))
        .await
}

async fn product(State(shop): State<Arc<Shop>>, Path(id): Path<u32>) -> Response {
    let page = move |catalogue: &Catalogue, budget: &CpuBudget| {
        let product = catalogue.product(id).ok_or((StatusCode::NOT_FOUND, "there is no such product"))?;
        let kind = product.name.rsplit(' ').next().unwrap_or_default();
        Ok(Html(pages::product(product, &catalogue.shelf_for(kind, budget))))
    };
    make(&shop, Page::Product, page).await
}

#[derive(Debug, Deserialize)]
struct Search {
    #[serde(default)]
    q: String,
}

async fn search(State(shop): State<Arc<Shop>>, Query(search): Query<Search>) -> Response {
    let query: String = search.q.chars().take(QUERY_CHARS_MAX).collect();
    let page = move |catalogue: &Catalogue, budget: &CpuBudget| {
        Ok(Html(pages::search(&query, &catalogue.shelf_for(&query, budget))))
    };
    make(&shop, Page::Search, page).await
}

/// A cart. The shop is stateless, so the client sends it with each request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cart {
    lines: Vec<CartLine>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CartLine {
    product: u32,
    quantity: u32,
}

/// A cart with its prices.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Priced {
    lines: Vec<PricedLine>,
    total_cents: u64,
    /// Ids of suggested products.
    suggestions: Vec<u32>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PricedLine {
    product: u32,
    name: String,
    quantity: u32,
    cents: u64,
}

/// An order; it is not stored.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Order {
    status: &'static str,
    total_cents: u64,
}

async fn cart(State(shop): State<Arc<Shop>>, Json(cart): Json<Cart>) -> Response {
    make(&shop, Page::Cart, move |catalogue, budget| Ok(Json(priced(&cart, catalogue, budget)?))).await
}

async fn checkout(State(shop): State<Arc<Shop>>, Json(cart): Json<Cart>) -> Response {
    let order = move |catalogue: &Catalogue, budget: &CpuBudget| {
        let total_cents = priced(&cart, catalogue, budget)?.total_cents;
        Ok(Json(Order { status: "accepted", total_cents }))
    };
    make(&shop, Page::Checkout, order).await
}

/// The status and body of an error.
type Refusal = (StatusCode, &'static str);

fn priced(cart: &Cart, catalogue: &Catalogue, budget: &CpuBudget) -> Result<Priced, Refusal> {
    if cart.lines.is_empty() || cart.lines.len() > CART_LINES_MAX {
        return Err((StatusCode::UNPROCESSABLE_ENTITY, "a cart has from 1 to 100 lines"));
    }
    let mut lines = Vec::with_capacity(cart.lines.len());
    for CartLine { product, quantity } in &cart.lines {
        let found = catalogue.product(*product);
        let found = found.ok_or((StatusCode::UNPROCESSABLE_ENTITY, "there is no such product"))?;
        if !(1..=QUANTITY_MAX).contains(quantity) {
            return Err((StatusCode::UNPROCESSABLE_ENTITY, "a quantity is between 1 and 1000"));
        }
        let Cents(each) = found.price;
        let cents = each * u64::from(*quantity);
        lines.push(PricedLine { product: *product, name: found.name.clone(), quantity: *quantity, cents });
    }
    let total_cents = lines.iter().map(|line| line.cents).sum();
    let suggestions = catalogue.shelf_for("", budget).into_iter().map(|product| product.id).collect();
    Ok(Priced { lines, total_cents, suggestions })
}

/// Makes a response on a worker, and counts it.
async fn make<T: IntoResponse + Send + 'static>(
    shop: &Arc<Shop>,
    page: Page,
    job: impl FnOnce(&Catalogue, &CpuBudget) -> Result<T, Refusal> + Send + 'static,
) -> Response {
    let _in_flight = shop.counters.begin();
    let began = Instant::now();
    let (outcome, response) = match shop.phase() {
        Phase::Opening => (Outcome::Busy, unavailable("the shop is opening")),
        Phase::Open | Phase::Unready | Phase::Hung | Phase::Closing => {
            let shared = Arc::clone(shop);
            match shop.workers.run(move |budget| job(&shared.catalogue, &budget)).await {
                Ok(Ok(result)) => (Outcome::Ok, result.into_response()),
                Ok(Err(refusal)) => (Outcome::Invalid, refusal.into_response()),
                Err(crate::work::Busy) => (Outcome::Busy, unavailable("too many visitors at once")),
            }
        }
    };
    shop.counters.end(page, outcome, began.elapsed());
    response
}

/// Returns 503 with a `Retry-After` of a second.
fn unavailable(why: &'static str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], why).into_response()
}

/// The readiness probe. It bypasses the queue, so that it succeeds under overload.
async fn readiness(State(shop): State<Arc<Shop>>) -> (StatusCode, &'static str) {
    match shop.phase() {
        Phase::Open => (StatusCode::OK, "open\n"),
        Phase::Opening => (StatusCode::SERVICE_UNAVAILABLE, "opening\n"),
        Phase::Unready | Phase::Hung => (StatusCode::SERVICE_UNAVAILABLE, "unready\n"),
        Phase::Closing => (StatusCode::SERVICE_UNAVAILABLE, "closing\n"),
    }
}

async fn metrics(State(shop): State<Arc<Shop>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], shop.counters.exposition())
}

async fn crash() {
    std::process::abort();
}

#[derive(Debug, Deserialize)]
struct Leak {
    mib: u16,
}

async fn leak(State(shop): State<Arc<Shop>>, Query(leak): Query<Leak>) -> Result<(), Refusal> {
    if i64::from(leak.mib) > MIB_MAX {
        return Err((StatusCode::UNPROCESSABLE_ENTITY, "at most 1024 MiB can be leaked at a time"));
    }
    shop.hold_memory(leak.mib);
    Ok(())
}
