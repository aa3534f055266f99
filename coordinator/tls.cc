#include "coordinator/tls.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>

#include "base/file.h"
#include "base/status.h"

namespace rung {
namespace {

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using Bio = std::unique_ptr<BIO, decltype(&BIO_free_all)>;

constexpr int64_t kMaxPemBytes = 64 * 1024;
constexpr absl::Duration kBackdated = absl::Hours(24);  // clocks of cluster nodes differ
constexpr absl::Duration kAuthorityLife = absl::Hours(24 * 3650);
constexpr absl::Duration kServerLife = absl::Hours(24 * 397);

absl::Status TlsError(const std::string& what) {
  return MakeError(absl::StatusCode::kInternal, {"E0675", "cannot make the certificate: " + what, "", "",
                                                 "Remove the directory tls/ and start again"});
}

std::string Bytes(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<size_t>(size));
}

std::string Pem(X509* certificate) {
  const Bio bio(BIO_new(BIO_s_mem()), &BIO_free_all);
  PEM_write_bio_X509(bio.get(), certificate);
  return Bytes(bio.get());
}

std::string Pem(EVP_PKEY* key) {
  const Bio bio(BIO_new(BIO_s_mem()), &BIO_free_all);
  PEM_write_bio_PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr);
  return Bytes(bio.get());
}

bool AddExtension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  if (extension == nullptr) return false;
  const bool added = X509_add_ext(certificate, extension, -1) == 1;
  X509_EXTENSION_free(extension);
  return added;
}

bool SetSerial(X509* certificate) {
  std::array<unsigned char, 16> bytes{};
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) return false;
  bytes[0] &= 0x7f;
  BIGNUM* number = BN_bin2bn(bytes.data(), static_cast<int>(bytes.size()), nullptr);
  const bool set = BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != nullptr;
  BN_free(number);
  return set;
}

// A certificate for `key` with this name, not yet signed.
Certificate NewCertificate(EVP_PKEY* key, const std::string& name, absl::Time now, absl::Duration life) {
  Certificate certificate(X509_new(), &X509_free);
  X509_set_version(certificate.get(), 2);
  time_t begin = absl::ToTimeT(now - kBackdated);
  time_t end = absl::ToTimeT(now + life);
  X509_time_adj_ex(X509_getm_notBefore(certificate.get()), 0, 0, &begin);
  X509_time_adj_ex(X509_getm_notAfter(certificate.get()), 0, 0, &end);
  // 64 characters is what the standard allows for a common name; clients look at the alternative names.
  const std::string common = name.substr(0, 64);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate.get()), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(common.c_str()), -1, -1, 0);
  X509_set_pubkey(certificate.get(), key);
  return certificate;
}

absl::Status MakeAuthority(const StateDir& dir, absl::Time now) {
  const Key key(EVP_EC_gen("P-256"), &EVP_PKEY_free);
  if (key == nullptr) return TlsError("no P-256 key");
  const Certificate certificate = NewCertificate(key.get(), "Rung state directory", now, kAuthorityLife);
  X509* ca = certificate.get();
  X509_set_issuer_name(ca, X509_get_subject_name(ca));
  const bool made =
      SetSerial(ca) && AddExtension(ca, ca, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
      AddExtension(ca, ca, NID_key_usage, "critical,keyCertSign,cRLSign") &&
      AddExtension(ca, ca, NID_subject_key_identifier, "hash") && X509_sign(ca, key.get(), EVP_sha256()) > 0;
  if (!made) return TlsError("the authority was not signed");
  RUNG_RETURN_IF_ERROR(WriteFileAtomic(dir.tls() + "/ca.key", Pem(key.get())));
  return WriteFileAtomic(dir.tls() + "/ca.pem", Pem(ca));
}

std::string AlternativeNames(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) {
    std::array<unsigned char, 16> address{};
    const bool numeric = inet_pton(AF_INET, name.c_str(), address.data()) == 1 ||
                         inet_pton(AF_INET6, name.c_str(), address.data()) == 1;
    // The text goes through OpenSSL's configuration grammar: what could end a value does not belong into a
    // host name.
    const bool plain =
        name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:_") ==
        std::string::npos;
    if (!plain || name.empty()) continue;
    text += (text.empty() ? "" : ",") + std::string(numeric ? "IP:" : "DNS:") + name;
  }
  return text;
}

}  // namespace

absl::StatusOr<TlsFiles> PrepareTls(const StateDir& dir, const std::vector<std::string>& names,
                                    Clock& clock) {
  const std::string ca_path = dir.tls() + "/ca.pem";
  if (access(ca_path.c_str(), F_OK) != 0) RUNG_RETURN_IF_ERROR(MakeAuthority(dir, clock.Now()));
  TlsFiles files;
  RUNG_ASSIGN_OR_RETURN(files.ca_pem, ReadFile(ca_path, kMaxPemBytes));
  RUNG_ASSIGN_OR_RETURN(const std::string ca_key_pem, ReadFile(dir.tls() + "/ca.key", kMaxPemBytes));
  const Bio ca_bio(BIO_new_mem_buf(files.ca_pem.data(), static_cast<int>(files.ca_pem.size())),
                   &BIO_free_all);
  const Bio key_bio(BIO_new_mem_buf(ca_key_pem.data(), static_cast<int>(ca_key_pem.size())), &BIO_free_all);
  const Certificate ca(PEM_read_bio_X509(ca_bio.get(), nullptr, nullptr, nullptr), &X509_free);
  const Key ca_key(PEM_read_bio_PrivateKey(key_bio.get(), nullptr, nullptr, nullptr), &EVP_PKEY_free);
  if (ca == nullptr || ca_key == nullptr) return TlsError("tls/ca.pem or tls/ca.key is not readable");
  const Key key(EVP_EC_gen("P-256"), &EVP_PKEY_free);
  if (key == nullptr || names.empty()) return TlsError("no key or no name");
  const Certificate certificate = NewCertificate(key.get(), names.front(), clock.Now(), kServerLife);
  X509* server = certificate.get();
  X509_set_issuer_name(server, X509_get_subject_name(ca.get()));
  const bool made = SetSerial(server) &&
                    AddExtension(server, ca.get(), NID_basic_constraints, "critical,CA:FALSE") &&
                    AddExtension(server, ca.get(), NID_ext_key_usage, "serverAuth") &&
                    AddExtension(server, ca.get(), NID_authority_key_identifier, "keyid") &&
                    AddExtension(server, ca.get(), NID_subject_alt_name, AlternativeNames(names)) &&
                    X509_sign(server, ca_key.get(), EVP_sha256()) > 0;
  if (!made) return TlsError("the certificate was not signed");
  files.certificate_pem = Pem(server);
  files.key_pem = Pem(key.get());
  files.ca_sha256 = Sha256Hex(files.ca_pem);
  RUNG_RETURN_IF_ERROR(WriteFileAtomic(dir.tls() + "/server.pem", files.certificate_pem));
  return files;
}

std::vector<std::string> HostNames() {
  std::vector<std::string> names;
  const auto add = [&](const std::string& name) {
    if (!name.empty() && std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  };
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  addrinfo hints{};
  hints.ai_flags = AI_CANONNAME;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.data(), nullptr, &hints, &found) == 0) {
    if (found->ai_canonname != nullptr) add(found->ai_canonname);
    freeaddrinfo(found);
  }
  add(host.data());
  add("localhost");
  ifaddrs* interfaces = nullptr;
  if (getifaddrs(&interfaces) != 0) return names;
  for (const ifaddrs* item = interfaces; item != nullptr; item = item->ifa_next) {
    if (item->ifa_addr == nullptr) continue;
    std::array<char, INET6_ADDRSTRLEN> text{};
    const int family = item->ifa_addr->sa_family;
    const void* address = nullptr;
    if (family == AF_INET) address = &reinterpret_cast<const sockaddr_in*>(item->ifa_addr)->sin_addr;
    if (family == AF_INET6) address = &reinterpret_cast<const sockaddr_in6*>(item->ifa_addr)->sin6_addr;
    if (address != nullptr && inet_ntop(family, address, text.data(), text.size()) != nullptr)
      add(text.data());
  }
  freeifaddrs(interfaces);
  return names;
}

}  // namespace rung
