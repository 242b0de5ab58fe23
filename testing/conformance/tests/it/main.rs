//! Every store keeps the contract, and the embedded one keeps it through kill -9.

mod store;
