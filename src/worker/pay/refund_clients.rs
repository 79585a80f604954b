//! One client per merchant that has a certificate: WeChat takes refunds over such connections alone.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::config::Config;
use crate::ids::MerchantKey;
use crate::wechat::certificate::{CertificateError, MerchantCertificate};
use crate::wechat::transport::{Client, ClientError};

/// Why a merchant's client cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum RefundClientError {
    /// The certificate cannot be used.
    #[error("the certificate of merchant {0} {1}")]
    Certificate(MerchantKey, #[source] CertificateError),
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// The clients in force. Clones share them.
#[derive(Clone, Default)]
pub struct RefundClients(Arc<RwLock<Arc<HashMap<MerchantKey, Client>>>>);

impl RefundClients {
    /// Reads the certificates that the configuration names; a merchant without one has no client.
    pub fn open(config: &Config, wechat: &Client) -> Result<RefundClients, RefundClientError> {
        let mut clients = HashMap::new();
        for merchant in &config.merchants {
            let Some(file) = &merchant.client_cert_file else { continue };
            let certificate = MerchantCertificate::read(file, merchant.client_key_file.as_deref(), &merchant.mch_id)
                .map_err(|e| RefundClientError::Certificate(merchant.key.clone(), e))?;
            let client = Client::with_certificate(&config.wechat, &certificate)?.sharing_hosts_with(wechat);
            clients.insert(merchant.key.clone(), client);
        }
        Ok(RefundClients(Arc::new(RwLock::new(Arc::new(clients)))))
    }

    pub fn snapshot(&self) -> Arc<HashMap<MerchantKey, Client>> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts other clients in force: for what begins from now on.
    pub fn replace(&self, others: &RefundClients) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = others.snapshot();
    }
}
