//! Every store keeps the contract, and the embedded one also after kill -9.

mod store;
