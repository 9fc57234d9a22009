package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"math/rand"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Real servers get their trouble from their load and their surroundings; their code is the distribution's.

// certify makes the key and the certificate that the servers with TLS show.
func certify(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		return err
	}
	template := x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(crand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "real.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "real.key"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: secret}), 0o644)
}

// serve starts a real server in a directory that goes away with the episode.
func (r *run) serve(dir, name string, args ...string) error {
	var err error
	if r.server, err = start(dir, name, args...); err != nil {
		return err
	}
	if err := reachable(r.listen); err != nil {
		return fmt.Errorf("%w; it says: %s", err, strings.Join(lines(filepath.Join(dir, "stderr.txt")), " "))
	}
	return nil
}

func (r *run) scratch() (string, error) {
	dir, err := os.MkdirTemp(r.dir, "real")
	r.undo = append(r.undo, func() { os.RemoveAll(dir) })
	return dir, err
}

// ownDisk mounts a file system of its own at data: a file on a loop device, where an fsync takes some milliseconds as on
// an ordinary disk, however fast the machine's own is.
func ownDisk(dir, data string) (device string, release func(), err error) {
	disk := filepath.Join(dir, "disk")
	if err := os.Mkdir(data, 0o755); err != nil {
		return "", nil, err
	}
	made, err := exec.Command("sh", "-c", "truncate -s 512M "+disk+" && mkfs.ext4 -q "+disk+" && losetup -f --show "+disk).Output()
	if err != nil {
		return "", nil, fmt.Errorf("a loop device: %w", err)
	}
	device = strings.TrimSpace(string(made))
	if text, err := exec.Command("mount", device, data).CombinedOutput(); err != nil {
		exec.Command("losetup", "-d", device).Run()
		return "", nil, fmt.Errorf("mount: %w: %s", err, text)
	}
	return device, func() {
		exec.Command("umount", data).Run()
		exec.Command("losetup", "-d", device).Run()
		os.Remove(disk)
	}, nil
}

// throttle is where the kernel limits a device's writes (control groups, first version).
const throttle = "/sys/fs/cgroup/blkio/blkio.throttle.write_iops_device"

// launchEtcd gives etcd a file system of its own, on a loop device whose writes a second are limited: every fsync has to
// wait for its turn, as on a disk that others keep busy.
func launchEtcd(r *run, e *episode) error {
	dir, err := r.scratch()
	if err != nil {
		return err
	}
	data := filepath.Join(dir, "data")
	device, release, err := ownDisk(dir, data)
	if err != nil {
		return err
	}
	r.undo = append(r.undo, release)
	peer := "http://" + free()
	r.listen = free()
	r.admin = r.listen
	// Its data is one level down: it wants a directory that nobody else may read.
	if err := r.serve(dir, "etcd", "--data-dir", filepath.Join(data, "etcd"), "--listen-client-urls", "http://"+r.listen, "--advertise-client-urls", "http://"+r.listen,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer, "--enable-pprof", "--log-level", "error"); err != nil {
		return err
	}
	time.Sleep(700 * time.Millisecond) // It elects itself.
	for i := 0; i < 300; i++ {
		if _, err := http.Post("http://"+r.listen+"/v3/kv/put", "application/json", strings.NewReader(string(etcdPut(i, 200)))); err != nil {
			return err
		}
	}
	if level := e.level("fsync"); level > 0 {
		number := strings.TrimSpace(lines("/sys/block/" + filepath.Base(device) + "/dev")[0])
		if err := os.WriteFile(throttle, []byte(fmt.Sprintf("%s %d", number, [4]int{400, 200, 100, 50}[level-1])), 0o644); err != nil {
			return fmt.Errorf("limit of a device's writes: %w", err)
		}
		r.undo = append(r.undo, func() { os.WriteFile(throttle, []byte(number+" 0"), 0o644) })
	}
	return nil
}

func etcdPut(n, size int) []byte {
	encode := base64.StdEncoding.EncodeToString
	return []byte(fmt.Sprintf(`{"key":%q,"value":%q}`, encode([]byte(fmt.Sprintf("key%05d", n))), encode([]byte(strings.Repeat(fmt.Sprint(n%10), size)))))
}

func driveEtcd(address string, e *episode) func() (client, error) {
	encode := base64.StdEncoding.EncodeToString
	sorting := []int{0, 6, 12, 25, 50}[e.level("unknown_big_sort")]
	return overHTTP(address, func(source *rand.Rand) request {
		key := encode([]byte(fmt.Sprintf("key%05d", source.Intn(300))))
		switch n := source.Intn(100); {
		case n < sorting:
			return request{"POST", "/v3/kv/range", []byte(fmt.Sprintf(`{"key":%q,"range_end":"AA==","limit":3,"sort_target":"VALUE","sort_order":"DESCEND"}`, encode([]byte("key"))))}
		case e.fresh() && n < 20:
			return request{"POST", "/v3/maintenance/status", []byte("{}")}
		case n < 65:
			return request{"POST", "/v3/kv/range", []byte(fmt.Sprintf(`{"key":%q}`, key))}
		}
		return request{"POST", "/v3/kv/put", etcdPut(source.Intn(300), 100+source.Intn(200))}
	})
}

// launchPrometheus starts Prometheus with TLS, scraping 4,000 series that we make up.
func launchPrometheus(r *run, e *episode) error {
	dir, err := r.scratch()
	if err != nil {
		return err
	}
	exporter, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	page := exposition()
	go http.Serve(exporter, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(page) }))
	r.undo = append(r.undo, func() { exporter.Close() })
	config := "global: {scrape_interval: 1s}\nscrape_configs:\n- {job_name: made, static_configs: [{targets: [\"" + exporter.Addr().String() + "\"]}]}\n"
	secure := "tls_server_config: {cert_file: " + filepath.Join(r.dir, "real.pem") + ", key_file: " + filepath.Join(r.dir, "real.key") + "}\n"
	for name, text := range map[string]string{"prometheus.yml": config, "web.yml": secure} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	r.listen = free()
	r.admin = "https://" + r.listen
	if err := r.serve(dir, "prometheus", "--config.file", filepath.Join(dir, "prometheus.yml"), "--web.config.file", filepath.Join(dir, "web.yml"),
		"--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", r.listen, "--log.level", "error"); err != nil {
		return err
	}
	time.Sleep(2500 * time.Millisecond) // Two scrapes.
	return nil
}

func exposition() []byte {
	var b strings.Builder
	for i := 0; i < 4000; i++ {
		fmt.Fprintf(&b, "made_requests_total{path=\"/api/v%d/%s/item%04d\",zone=\"z%d\",code=\"%d\"} %d\n", i%3, []string{"shop", "cart", "stock", "user"}[i%4], i, i%16, 200+i%5, i*7)
	}
	return []byte(b.String())
}

func drivePrometheus(address string, e *episode) func() (client, error) {
	share := []int{0, 4, 9, 18, 32}[e.level("regex")]
	anew := []int{0, 10, 25, 50, 100}[e.level("connection_churn")]
	return overHTTPTo("https://"+address, anew, func(source *rand.Rand) request {
		query := fmt.Sprintf("sum(made_requests_total{zone=\"z%d\"})", source.Intn(16))
		switch n := source.Intn(100); {
		case n < share:
			query = fmt.Sprintf("count(made_requests_total{path=~\".*(sh|st).*[p-t]+.*item.*%d.*\"})", source.Intn(10))
		case e.fresh() && n < 20:
			return request{"GET", "/api/v1/label/zone/values", nil}
		case n < 40:
			query = fmt.Sprintf("made_requests_total{zone=\"z%d\",code=\"201\"}", source.Intn(16))
		case n < 70:
			query = "up"
		}
		return request{"GET", "/api/v1/query?query=" + escape(query), nil}
	})
}

func escape(query string) string {
	var b strings.Builder
	for _, c := range []byte(query) {
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

// launchNginx starts one process of nginx with TLS that compresses a text. How it logs and maps is its configuration.
func launchNginx(r *run, e *episode) error {
	dir, err := r.scratch()
	if err != nil {
		return err
	}
	r.listen = free()
	r.admin = ""
	logs := "access_log " + filepath.Join(dir, "access.log") + " long buffer=256k flush=5s;\n"
	for i := 0; i < []int{0, 2, 6, 14, 30}[e.level("sync_logging")]; i++ {
		logs += fmt.Sprintf("access_log %s long;\n", filepath.Join(dir, fmt.Sprintf("access%d.log", i)))
	}
	maps := "map $arg_k $group { default none; }\n"
	if n := []int{0, 40, 100, 250, 500}[e.level("regex")]; n > 0 {
		maps = "map $arg_k $group { default none;\n"
		for i := 0; i < n; i++ {
			maps += fmt.Sprintf("\"~*^(?:[a-z]+-)*x%d(?:[0-9]+[a-f]*)+$\" g%d;\n", i, i)
		}
		maps += "}\n"
	}
	compression := 2
	if level := e.level("unknown_compression"); level > 0 {
		compression = []int{2, 4, 6, 8, 9}[level]
	}
	config := fmt.Sprintf(`daemon off; master_process off; pid %[1]s/pid; error_log %[1]s/error.log crit;
events { worker_connections 2048; }
http { client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
log_format long '$remote_addr $time_local "$request" $status $body_bytes_sent "$http_user_agent" $request_time $ssl_protocol $ssl_cipher $group $request_id $msec $connection $pipe';
%[2]s%[3]s
server { listen %[4]s ssl; ssl_certificate %[5]s/real.pem; ssl_certificate_key %[5]s/real.key; ssl_session_tickets off; keepalive_requests 100000; root %[1]s/www;
gzip on; gzip_types text/plain; gzip_comp_level %[6]d; default_type text/plain; add_header X-Group $group;
location /page { } location /made { return 200 "made $request_id"; } } }
`, dir, maps, logs, r.listen, r.dir, compression)
	if err := os.Mkdir(filepath.Join(dir, "www"), 0o755); err != nil {
		return err
	}
	source := rand.New(rand.NewSource(5))
	for i := 0; i < 20; i++ {
		var b strings.Builder
		for b.Len() < 7000 {
			fmt.Fprintf(&b, "line %d of %x and more words than one would like\n", source.Intn(1000), source.Int63())
		}
		if err := os.WriteFile(filepath.Join(dir, "www", fmt.Sprintf("page%d", i)), []byte(b.String()), 0o644); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(config), 0o644); err != nil {
		return err
	}
	// It drops its rights: its files must be reachable for anybody.
	for _, path := range []string{r.dir, dir} {
		if err := os.Chmod(path, 0o755); err != nil {
			return err
		}
	}
	name := "nginx"
	if _, err := exec.LookPath(name); err != nil {
		name = "/usr/sbin/nginx"
	}
	return r.serve(dir, name, "-c", filepath.Join(dir, "nginx.conf"), "-p", dir)
}

func driveNginx(address string, e *episode) func() (client, error) {
	anew := []int{0, 6, 15, 30, 55}[e.level("connection_churn")]
	return overHTTPTo("https://"+address, anew, func(source *rand.Rand) request {
		path := fmt.Sprintf("/page%d?k=abc-def-x%d9f", source.Intn(20), source.Intn(1000))
		if e.fresh() && source.Intn(100) < 20 {
			path = "/made"
		}
		return request{"GET", path, nil}
	})
}
