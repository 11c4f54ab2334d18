//! Objects of S3, Google Cloud Storage and Azure Blob Storage, through object_store.
//!
//! Credentials and settings come from the variables that the providers' own programs read, and from nothing else: the
//! metadata service of a node would lend a pod the rights of the node. Without credentials requests are not signed,
//! which is right for public buckets.

use std::fmt;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey as Aws};
use object_store::azure::{AzureConfigKey as Azure, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey as Google};
use object_store::path::Path;
use object_store::{
    ClientOptions, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, RetryConfig,
};

use crate::FetchError;
use crate::names;
use crate::secrets::Secrets;
use crate::source::{Item, Opened, Trouble};
use crate::transport::{Connector, Transport};
use crate::uri::{Store, Uri};

/// A folder of a bucket.
pub(crate) struct Bucket {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    uri: String,
    secrets: Secrets,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("uri", &self.uri).finish_non_exhaustive()
    }
}

/// What a store is made from.
pub(crate) struct Settings<'a> {
    /// Names and values of the environment.
    pub(crate) variables: &'a [(String, String)],
    /// Whether an endpoint may be `http://`: for artefacts, if what comes is checked against a digest.
    pub(crate) may_be_open: bool,
    /// The client.
    pub(crate) transport: Arc<Transport>,
}

/// Our own loop repeats requests: it tells of each, and goes on where the last one ended.
fn never_again() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

/// The store of an address.
pub(crate) fn store(
    kind: Store,
    bucket: &str,
    uri: &str,
    settings: &Settings<'_>,
) -> Result<Arc<dyn ObjectStore>, FetchError> {
    let made = match kind {
        Store::S3 => s3(bucket, uri, settings)?.build().map(|s| Arc::new(s) as Arc<dyn ObjectStore>),
        Store::Gs => gs(bucket, uri, settings)?.build().map(|s| Arc::new(s) as Arc<dyn ObjectStore>),
        Store::Az => az(bucket, uri, settings)?.build().map(|s| Arc::new(s) as Arc<dyn ObjectStore>),
    };
    made.map_err(|error| {
        let reason = Secrets::of(settings.variables).clean(&error);
        FetchError::Settings { uri: uri.to_owned(), reason }
    })
}

impl Bucket {
    /// The folder of an address.
    pub(crate) fn new(
        kind: Store,
        bucket: &str,
        prefix: &str,
        settings: &Settings<'_>,
    ) -> Result<Self, FetchError> {
        let uri =
            Uri::Bucket { store: kind, bucket: bucket.to_owned(), prefix: prefix.to_owned() }.to_string();
        let secrets = Secrets::of(settings.variables);
        let store = store(kind, bucket, &uri, settings)?;
        let wrong = |error: object_store::path::Error| FetchError::Settings {
            uri: uri.clone(),
            reason: error.to_string(),
        };
        let prefix = Path::parse(prefix).map_err(wrong)?;
        Ok(Self { store, prefix, uri, secrets })
    }

    pub(crate) async fn list(&self, most: usize) -> Result<Vec<Item>, Trouble> {
        let mut objects = self.store.list(Some(&self.prefix));
        let (mut items, mut seen) = (Vec::new(), 0);
        while let Some(object) = objects.try_next().await.map_err(|error| self.trouble(&self.uri, &error))? {
            seen += 1;
            if seen > most {
                // Enough to refuse it; the rest need not be listed.
                return Err(Trouble::Final(FetchError::Files { uri: self.uri.clone(), limit: most }));
            }
            items.extend(self.item(&object)?);
        }
        without_markers(&mut items);
        Ok(items)
    }

    pub(crate) async fn look(&self, path: &str) -> Result<Item, Trouble> {
        let found = self.store.head(&self.key(path)).await;
        let object = found.map_err(|error| self.trouble(&self.at(path), &error))?;
        self.item(&object)?.ok_or_else(|| Trouble::Final(FetchError::Missing { at: self.at(path) }))
    }

    pub(crate) async fn open(&self, item: &Item, from: u64) -> Result<Opened, Trouble> {
        let options = GetOptions {
            if_match: item.etag.clone(),
            range: (from > 0).then_some(GetRange::Offset(from)),
            ..GetOptions::default()
        };
        let at = self.at(&item.path);
        let answer = self.store.get_opts(&self.key(&item.path), options).await;
        let answer = match answer {
            // It says so in words only: a server that does not know ranges.
            Err(error) if from > 0 && error.to_string().contains("non-partial response") => {
                let options = GetOptions { if_match: item.etag.clone(), ..GetOptions::default() };
                self.store.get_opts(&self.key(&item.path), options).await
            }
            answer => answer,
        };
        let answer = answer.map_err(|error| self.trouble(&at, &error))?;
        let (start, meta) = (answer.range.start, answer.meta.clone());
        let secrets = self.secrets.clone();
        let body = answer.into_stream().map_err(move |error| secrets.clean(&error)).boxed();
        Ok(Opened { start, size: Some(meta.size), etag: meta.e_tag.as_deref().and_then(quoted), body })
    }

    fn key(&self, path: &str) -> Path {
        path.split('/').fold(self.prefix.clone(), Path::join)
    }

    fn at(&self, path: &str) -> String {
        format!("{}/{path}", self.uri)
    }

    /// The file of an object; none for the folder itself, which some programs make an object of.
    fn item(&self, object: &ObjectMeta) -> Result<Option<Item>, FetchError> {
        let key: &str = object.location.as_ref();
        let path = key.strip_prefix(self.prefix.as_ref()).unwrap_or(key).trim_start_matches('/');
        if path.is_empty() {
            return Ok(None);
        }
        names::check(path)?;
        let etag = object.e_tag.as_deref().and_then(quoted);
        Ok(Some(Item { path: path.to_owned(), size: Some(object.size), etag }))
    }

    fn trouble(&self, at: &str, error: &object_store::Error) -> Trouble {
        use object_store::Error;
        let (at, reason) = (at.to_owned(), self.secrets.clean(error));
        match error {
            Error::NotFound { .. } => Trouble::Final(FetchError::Missing { at }),
            Error::Precondition { .. } => Trouble::Changed(format!("{at} has changed")),
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } | Error::InvalidPath { .. } => {
                Trouble::Final(FetchError::Refused { at, reason })
            }
            // object_store keeps the status to itself.
            _ if is_refusal(&reason) => Trouble::Final(FetchError::Refused { at, reason }),
            _ => Trouble::Passing(reason),
        }
    }
}

/// A strong ETag as it is sent: in lists of Azure it has no quotes, in answers it has.
fn quoted(etag: &str) -> Option<String> {
    (!etag.starts_with("W/")).then(|| format!("\"{}\"", etag.trim_matches('"')))
}

/// Whether a request will be answered the same way again: 3xx and 4xx, but for those that ask for patience.
pub(crate) fn is_refusal(reason: &str) -> bool {
    let status = reason.split_once("status code: ").map_or("", |(_, rest)| rest);
    let redirect = reason.contains("redirect without LOCATION");
    redirect || (status.starts_with(['3', '4']) && !status.starts_with("408") && !status.starts_with("429"))
}

/// Takes out objects without bytes that only say that there is a folder.
fn without_markers(items: &mut Vec<Item>) {
    let is_folder = |path: &str| {
        let within = format!("{path}/");
        move |other: &Item| other.path.starts_with(&within)
    };
    let markers: Vec<String> = items
        .iter()
        .filter(|item| item.size == Some(0) && items.iter().any(is_folder(&item.path)))
        .map(|item| item.path.clone())
        .collect();
    items.retain(|item| !markers.contains(&item.path));
}

/// The variables of one provider as keys of object_store; others, and those that it does not know, are left out.
fn settings_of<K: std::str::FromStr>(
    variables: &[(String, String)],
    start: &str,
) -> impl Iterator<Item = (K, String)> {
    let ours = variables.iter().filter(move |(name, value)| name.starts_with(start) && !value.is_empty());
    ours.filter_map(|(name, value)| Some((name.to_ascii_lowercase().parse().ok()?, value.clone())))
}

/// Plain HTTP to an endpoint that somebody named: only where it may be.
fn options(endpoint: Option<&str>, uri: &str, may_be_open: bool) -> Result<ClientOptions, FetchError> {
    let is_open = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
    if is_open && !may_be_open {
        return Err(FetchError::Open(format!("{uri} (its endpoint is http://)")));
    }
    Ok(ClientOptions::default().with_allow_http(is_open))
}

fn s3(bucket: &str, uri: &str, settings: &Settings<'_>) -> Result<AmazonS3Builder, FetchError> {
    let set = |builder: AmazonS3Builder, (key, value)| builder.with_config(key, value);
    // Sessions of directory buckets would ask the metadata service where there are no credentials.
    let ours =
        settings_of::<Aws>(settings.variables, "AWS_").filter(|(key, _)| !matches!(key, Aws::S3Express));
    let builder = ours.fold(AmazonS3Builder::new(), set);
    let has = |key: Aws| builder.get_config_value(&key).is_some();
    let signs = has(Aws::AccessKeyId)
        || has(Aws::SecretAccessKey)
        || (has(Aws::WebIdentityTokenFile) && has(Aws::RoleArn))
        || has(Aws::ContainerCredentialsRelativeUri)
        || (has(Aws::ContainerCredentialsFullUri) && has(Aws::ContainerAuthorizationTokenFile));
    let endpoint = builder.get_config_value(&Aws::S3Endpoint).or(builder.get_config_value(&Aws::Endpoint));
    let options = options(endpoint.as_deref(), uri, settings.may_be_open)?;
    let builder = if signs { builder } else { builder.with_skip_signature(true) };
    Ok(builder
        .with_bucket_name(bucket)
        .with_client_options(options)
        .with_retry(never_again())
        .with_http_connector(Connector(settings.transport.clone())))
}

fn gs(bucket: &str, uri: &str, settings: &Settings<'_>) -> Result<GoogleCloudStorageBuilder, FetchError> {
    let set = |builder: GoogleCloudStorageBuilder, (key, value)| builder.with_config(key, value);
    let builder =
        settings_of::<Google>(settings.variables, "GOOGLE_").fold(GoogleCloudStorageBuilder::new(), set);
    let has = |key: Google| builder.get_config_value(&key).is_some();
    let signs = has(Google::ServiceAccount)
        || has(Google::ServiceAccountKey)
        || has(Google::ApplicationCredentials)
        || has(Google::BearerToken);
    let endpoint = builder.get_config_value(&Google::BaseUrl);
    let options = options(endpoint.as_deref(), uri, settings.may_be_open)?;
    let builder = if signs { builder } else { builder.with_skip_signature(true) };
    Ok(builder
        .with_bucket_name(bucket)
        .with_client_options(options)
        .with_retry(never_again())
        .with_http_connector(Connector(settings.transport.clone())))
}

fn az(container: &str, uri: &str, settings: &Settings<'_>) -> Result<MicrosoftAzureBuilder, FetchError> {
    let set = |builder: MicrosoftAzureBuilder, (key, value)| builder.with_config(key, value);
    // Ways to plain HTTP, to the node's metadata service and to a program of this machine.
    let is_ours = |(key, _): &(Azure, String)| {
        !matches!(key, Azure::UseEmulator | Azure::CredentialType | Azure::UseAzureCli)
    };
    let ours = settings_of::<Azure>(settings.variables, "AZURE_").filter(is_ours);
    let builder = ours.fold(MicrosoftAzureBuilder::new(), set);
    let has = |key: Azure| builder.get_config_value(&key).is_some();
    if !has(Azure::AccountName) {
        let reason = "AZURE_STORAGE_ACCOUNT_NAME is not set".to_owned();
        return Err(FetchError::Settings { uri: uri.to_owned(), reason });
    }
    let signs = has(Azure::AccessKey)
        || has(Azure::SasKey)
        || has(Azure::Token)
        || (has(Azure::ClientId) && (has(Azure::ClientSecret) || has(Azure::FederatedTokenFile)));
    let endpoint = builder.get_config_value(&Azure::Endpoint);
    let options = options(endpoint.as_deref(), uri, settings.may_be_open)?;
    let builder = if signs { builder } else { builder.with_skip_signature(true) };
    Ok(builder
        .with_container_name(container)
        .with_client_options(options)
        .with_retry(never_again())
        .with_http_connector(Connector(settings.transport.clone())))
}
