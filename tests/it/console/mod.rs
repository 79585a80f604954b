//! The operators' console.

mod pages;
