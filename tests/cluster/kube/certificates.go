package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Certificates of a cluster live as long as anybody could want to look at one.
const life = 365 * 24 * time.Hour

// holder is whom a certificate is for: Kubernetes takes name and group of a client from it, and a
// server is found at its addresses.
type holder struct {
	file, name, group string
	addresses         []string
}

// authority signs the certificates of one cluster into one folder.
type authority struct {
	folder, server string
	certificate    *x509.Certificate
	pem            []byte
	key            crypto.Signer
}

// certificates writes what a cluster's programs know each other by:
//
//	kube certificates FOLDER API-ADDRESS SERVICE-ADDRESS NODE=ADDRESS,ADDRESS...
func certificates(args []string) error {
	if len(args) < 3 {
		return errors.New("expected FOLDER API-ADDRESS SERVICE-ADDRESS NODE=ADDRESS,ADDRESS...")
	}
	if err := os.MkdirAll(args[0], 0o700); err != nil {
		return err
	}
	ca, err := newAuthority(args[0], "https://"+net.JoinHostPort(args[1], "6443"))
	if err != nil {
		return err
	}
	holders := []holder{
		{"apiserver", "kube-apiserver", "", []string{args[1], args[2], "kubernetes.default.svc"}},
		{"admin", "admin", "system:masters", nil},
		{"controller-manager", "system:kube-controller-manager", "", nil},
		{"scheduler", "system:kube-scheduler", "", nil},
		{"proxy", "system:kube-proxy", "", nil},
	}
	for _, node := range args[3:] {
		name, addresses, _ := strings.Cut(node, "=")
		holders = append(holders, holder{name, "system:node:" + name, "system:nodes", strings.Split(addresses, ",")})
	}
	for _, h := range holders {
		if err := ca.issue(h); err != nil {
			return fmt.Errorf("%s: %w", h.file, err)
		}
	}
	return ca.tokenKey()
}

func newAuthority(folder, server string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "cluster"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	ca := &authority{folder: folder, server: server, certificate: certificate, key: key}
	ca.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := ca.write("ca.crt", ca.pem); err != nil {
		return nil, err
	}
	// The controller manager signs requests of users with it.
	_, err = ca.writeKey("ca.key", key)
	return ca, err
}

// issue writes a holder's certificate and key, and a kubeconfig with them.
func (ca *authority) issue(h holder) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: h.name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	if h.group != "" {
		template.Subject.Organization = []string{h.group}
	}
	for _, address := range h.addresses {
		if ip := net.ParseIP(address); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, address)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.certificate, key.Public(), ca.key)
	if err != nil {
		return err
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := ca.write(h.file+".crt", certificate); err != nil {
		return err
	}
	keyPEM, err := ca.writeKey(h.file+".key", key)
	if err != nil {
		return err
	}
	return ca.kubeconfig(h.file, certificate, keyPEM)
}

// tokenKey writes the pair by which service accounts' tokens are signed.
func (ca *authority) tokenKey() error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	if _, err := ca.writeKey("tokens.key", key); err != nil {
		return err
	}
	return ca.write("tokens.pub", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))
}

// kubeconfig is JSON, which is YAML, too; byte slices become base64 in it as Kubernetes wants them.
func (ca *authority) kubeconfig(name string, certificate, key []byte) error {
	type fields = map[string]any
	config := fields{
		"apiVersion": "v1", "kind": "Config", "current-context": "weft-test",
		"clusters": []fields{{"name": "weft-test", "cluster": fields{"server": ca.server, "certificate-authority-data": ca.pem}}},
		"users":    []fields{{"name": name, "user": fields{"client-certificate-data": certificate, "client-key-data": key}}},
		"contexts": []fields{{"name": "weft-test", "context": fields{"cluster": "weft-test", "user": name}}},
	}
	text, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return err
	}
	return ca.write(name+".kubeconfig", text)
}

func (ca *authority) writeKey(file string, key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return text, ca.write(file, text)
}

func (ca *authority) write(file string, text []byte) error {
	return os.WriteFile(filepath.Join(ca.folder, file), text, 0o600)
}
