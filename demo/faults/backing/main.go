// Backing is the store that the demo services call: the same keys over HTTP and over a line protocol, each with and
// without TLS. It counts calls and connections, which makes it an independent witness of fan-out and churn.
package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"hash/fnv"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

var calls, connections atomic.Int64

// counted counts what it accepts.
type counted struct{ net.Listener }

func (c counted) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err == nil {
		connections.Add(1)
	}
	return conn, err
}

func main() {
	certificate := flag.String("certificate", "", "file to write the PEM certificate to")
	flag.Parse()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	check(err)
	if *certificate != "" {
		check(os.WriteFile(*certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644))
	}
	secure := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}

	mux := http.NewServeMux()
	mux.HandleFunc("/stats", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "{\"calls\":%d,\"connections\":%d}\n", calls.Load(), connections.Load())
	})
	mux.HandleFunc("/get", get)
	server := &http.Server{Handler: mux}
	plain, sealed, line, lineSealed := listen(), listen(), listen(), listen()
	fmt.Printf("{\"http\":%q,\"https\":%q,\"line\":%q,\"line_tls\":%q}\n", plain.Addr(), sealed.Addr(), line.Addr(), lineSealed.Addr())
	go func() { check(server.Serve(plain)) }()
	go func() { check(server.Serve(tls.NewListener(sealed, secure))) }()
	go serveLines(tls.NewListener(lineSealed, secure))
	serveLines(line)
}

func listen() net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	return counted{l}
}

// value gives each key a stable value.
func value(key string) uint32 {
	h := fnv.New32a()
	io.WriteString(h, key)
	return h.Sum32() % 1000
}

// get answers ?key=a&key=b with {"a":1,"b":2}; ?wait=N answers after N microseconds.
func get(w http.ResponseWriter, r *http.Request) {
	calls.Add(1)
	query := r.URL.Query()
	pause(query.Get("wait"))
	out := map[string]uint32{}
	for _, key := range query["key"] {
		out[key] = value(key)
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(out)
}

func pause(microseconds string) {
	if n, err := strconv.Atoi(microseconds); err == nil && n > 0 {
		time.Sleep(time.Duration(n) * time.Microsecond)
	}
}

func serveLines(l net.Listener) {
	for {
		conn, err := l.Accept()
		check(err)
		go lines(conn)
	}
}

// lines answers "GET k...", one line with a value for each key; "PUT k v"; "WAIT microseconds".
func lines(conn net.Conn) {
	defer conn.Close()
	reader := bufio.NewReader(conn)
	for {
		text, err := reader.ReadString('\n')
		if err != nil {
			return
		}
		calls.Add(1)
		words := strings.Fields(text)
		reply := "ERR\n"
		switch {
		case len(words) > 1 && words[0] == "GET":
			var b strings.Builder
			for i, key := range words[1:] {
				if i > 0 {
					b.WriteByte(' ')
				}
				b.WriteString(strconv.Itoa(int(value(key))))
			}
			b.WriteByte('\n')
			reply = b.String()
		case len(words) == 3 && words[0] == "PUT":
			reply = "OK\n"
		case len(words) == 2 && words[0] == "WAIT":
			pause(words[1])
			reply = "OK\n"
		}
		if _, err := io.WriteString(conn, reply); err != nil {
			return
		}
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
