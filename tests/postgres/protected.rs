//! Connections that are protected by TLS: whom a client trusts, and whom it does not.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use graviola::hashing::Sha256;
use graviola::signing::ecdsa::{P256, SigningKey};
use orderflow::store::{Position, PostgresInventory, Store, StoreReader};
use orderflow::{Error, ErrorCode};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, PublicKeyData};

use crate::server::{Server, programs};
use crate::store_support::{batch, entry, movement, numbered, part, topic};
use crate::{Case, block_on};

pub(crate) fn cases() -> Vec<Case> {
    macro_rules! protected {
        ($($case:ident),* $(,)?) => {
            vec![$({
                let body: fn() = || block_on($case());
                (concat!("protected::", stringify!($case)).to_owned(), body)
            }),*]
        };
    }
    protected![
        a_server_is_verified_by_its_authority_and_its_name,
        a_server_without_tls_is_refused,
        a_password_is_bound_to_the_connection_that_it_is_given_on,
        a_server_that_is_given_a_foreign_certificate_gets_no_new_connection_until_it_has_its_own_again,
    ]
}

/// A key of a test, which signs.
struct Key {
    pair: SigningKey<P256>,
    /// The point, uncompressed.
    public: Vec<u8>,
}

impl Key {
    fn draw() -> Self {
        let pair = SigningKey::<P256>::generate().unwrap();
        let mut room = [0; 256];
        let written = pair.to_spki_der(&mut room).unwrap();
        let public = written[written.len() - 65..].to_vec();
        Self { pair, public }
    }

    fn pem(&self, server: &Server) -> String {
        let mut room = [0; 512];
        let bytes = self.pair.to_pkcs8_der(&mut room).unwrap();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let lines = server.sql(&format!("SELECT encode('\\x{hex}'::bytea, 'base64')"));
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.trim())
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let mut room = [0; 128];
        let signed = self.pair.sign_asn1::<Sha256>(&[message], &mut room);
        signed.map(<[u8]>::to_vec).map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

/// Who signs certificates.
struct Authority {
    issuer: Issuer<'static, Key>,
    folder: tempfile::TempDir,
}

fn parameters(names: &[&str], serial: u64) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut parameters = CertificateParams::new(names).unwrap();
    parameters.serial_number = Some(serial.into());
    parameters
}

impl Authority {
    fn new() -> Self {
        let mut parameters = parameters(&[], 1);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let (key, folder) = (Key::draw(), tempfile::tempdir().unwrap());
        std::fs::write(folder.path().join("ca.pem"), parameters.self_signed(&key).unwrap().pem()).unwrap();
        Self { issuer: Issuer::new(parameters, key), folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Gives a server a certificate for these names.
    fn certify(&self, server: &Server, names: &[&str]) {
        let key = Key::draw();
        let certificate = parameters(names, fastrand::u64(2..)).signed_by(&key, &self.issuer).unwrap();
        server.protect(&certificate.pem(), &key.pem(server));
    }
}

fn start() -> (Server, u16) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let own = [format!("port={port}"), "listen_addresses='127.0.0.1'".to_owned(), "fsync=off".to_owned()];
    (Server::start(&programs().unwrap(), &own.each_ref().map(String::as_str)), port)
}

/// A server whose certificate is for `localhost` and `db.example`, and its authority.
fn certified() -> (Server, u16, Authority) {
    let ((server, port), authority) = (start(), Authority::new());
    authority.certify(&server, &["localhost", "db.example"]);
    (server, port, authority)
}

async fn refused(url: &str) -> Error {
    PostgresInventory::connect(url, "inventory").await.unwrap_err()
}

fn url(host: &str, port: u16, authorities: &Path) -> String {
    let authorities = authorities.display();
    format!("postgres://postgres@{host}:{port}/postgres?sslmode=verify-full&sslrootcert={authorities}")
}

async fn a_server_is_verified_by_its_authority_and_its_name() {
    let (server, port, authority) = certified();
    let right = url("localhost", port, &authority.file());
    let store = PostgresInventory::connect(&format!("{right}&application_name=verified"), "inventory").await.unwrap();
    let orders = (0..2_000).map(|offset| entry(offset, numbered(1, offset as u64), movement("1", 5))).collect();
    store.apply(batch(part(0, &Position::default(), orders))).await.unwrap();
    assert_eq!(store.positions(&topic()).await.unwrap()[&0].next, 2_000);
    let ciphers = "SELECT DISTINCT ssl, version FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                   WHERE application_name = 'verified'";
    assert_eq!(server.sql(ciphers).trim(), "t|TLSv1.3");
    store.close().await.unwrap();
    // As libpq does: a name for the certificate, an address for the connection.
    let named = url("db.example", port, &authority.file());
    StoreReader::open(format!("{named}&hostaddr=127.0.0.1")).await.unwrap();
    for stricter in ["require", "verify-ca"] {
        StoreReader::open(right.replace("verify-full", stricter)).await.unwrap();
    }

    let other = Authority::new();
    let foreign = refused(&url("localhost", port, &other.file())).await;
    assert!(foreign.to_string().contains("server is not accepted: BadSignature"), "{foreign}");
    for mode in ["require", "verify-ca", "verify-full"] {
        let elsewhere = url("127.0.0.1", port, &authority.file()).replace("verify-full", mode);
        let elsewhere = refused(&elsewhere).await;
        assert!(elsewhere.to_string().contains("not valid for name"), "{elsewhere}");
        assert_eq!((elsewhere.code(), elsewhere.is_retriable()), (ErrorCode::StoreIo, true));
    }
    server.stop();
}

async fn a_server_without_tls_is_refused() {
    let (server, port) = start();
    let refused = refused(&url("localhost", port, &Authority::new().file())).await;
    assert!(refused.to_string().contains("speaks no TLS"), "{refused}");
    server.stop();
}

async fn a_password_is_bound_to_the_connection_that_it_is_given_on() {
    let (server, port, authority) = certified();
    server.sql("CREATE ROLE bound LOGIN SUPERUSER PASSWORD 'right'");
    server.admit("hostssl all bound 127.0.0.1/32 scram-sha-256");
    let url = url("localhost", port, &authority.file()) + "&channel_binding=require&schema=bound";
    let open = async |password: &str| {
        let url = url.replace("postgres@", &format!("bound:{password}@"));
        PostgresInventory::connect(&url, "inventory").await
    };
    open("right").await.unwrap().close().await.unwrap();
    let wrong = open("wrong").await.unwrap_err();
    assert!(!wrong.is_retriable() && wrong.to_string().contains("28P01"), "{wrong}");
    server.stop();
}

async fn a_server_that_is_given_a_foreign_certificate_gets_no_new_connection_until_it_has_its_own_again() {
    let ((server, port), authority) = (start(), Authority::new());
    authority.certify(&server, &["localhost"]);
    let url = url("localhost", port, &authority.file());
    let store = PostgresInventory::connect(&url, "inventory").await.unwrap();
    let mut at = Position::default();
    let mut apply = async |offset: i64| {
        let order = vec![entry(offset, numbered(1, offset as u64), movement("1", 5))];
        let applied = store.apply(batch(part(0, &at, order))).await?;
        at = applied.parts[0].position.clone();
        Ok::<_, Error>(())
    };
    apply(0).await.unwrap();
    Authority::new().certify(&server, &["localhost"]);
    server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'orderflow'");
    let error = apply(1).await.unwrap_err();
    assert!(error.is_retriable() && error.to_string().contains("server is not accepted: BadSignature"), "{error}");
    authority.certify(&server, &["localhost"]);
    apply(1).await.unwrap();
    store.close().await.unwrap();
    server.stop();
}
