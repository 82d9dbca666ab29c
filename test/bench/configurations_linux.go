package main

import (
	"strings"
	"text/template"
)

// nginx in its fair form: one worker per core, connections to both upstreams
// kept and spoken to in HTTP/1.1, no log, no body on disk. A stream of HTTP/2
// counts as open until its copy is done, long after its answer: with the usual
// limit of 128 clients are refused. proxy_buffering and
// proxy_request_buffering stay as they are by default, but for large bodies.
var nginxConf = template.Must(template.New("nginx").Parse(`worker_processes {{.Cores}};
worker_rlimit_nofile 20000;
daemon off;
pid {{.Dir}}/nginx.pid;
error_log stderr crit;
{{- if .Root}}
user root;
{{- end}}
events { worker_connections 16384; }
http {
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  client_max_body_size 0;
  client_body_buffer_size 256k;
  client_body_temp_path {{.Dir}}/body;
  proxy_temp_path {{.Dir}}/proxy;
  fastcgi_temp_path {{.Dir}}/fastcgi;
  uwsgi_temp_path {{.Dir}}/uwsgi;
  scgi_temp_path {{.Dir}}/scgi;
  proxy_max_temp_file_size 0;
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_set_header Host $http_host;
  upstream primary { server {{.Primary}}; keepalive 256; keepalive_requests 1000000000; keepalive_timeout 600s; }
{{- if .Mirror}}
  upstream shadow { server {{.Shadow}}; keepalive 256; keepalive_requests 1000000000; keepalive_timeout 600s; }
{{- end}}
  server {
    listen {{.Listen}}{{if .Wire.TLS}} ssl{{end}}{{if .Wire.HTTP2}} http2{{end}} reuseport backlog=4096;
{{- if .Wire.TLS}}
    ssl_certificate {{.Dir}}/cert.pem;
    ssl_certificate_key {{.Dir}}/key.pem;
    ssl_protocols TLSv1.3;
{{- end}}
{{- if .Wire.HTTP2}}
    http2_max_concurrent_streams 16384;
{{- end}}
    location / {
{{- if .Mirror}}
      mirror /.mirror;
{{- end}}
{{- if .Stream}}
      proxy_request_buffering off;
{{- end}}
      proxy_pass http://primary;
    }
{{- if .Mirror}}
    location = /.mirror { internal; proxy_pass http://shadow$request_uri; }
{{- end}}
  }
}
`))

var haproxyConf = template.Must(template.New("haproxy").Parse(`global
  nbthread {{.Cores}}
  maxconn 12000
  no strict-limits
defaults
  mode http
  http-reuse always
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  timeout http-keep-alive 600s
frontend web
  bind {{.Listen}} backlog 4096
  default_backend primary
backend primary
  server one {{.Primary}}
`))

var understudyConf = template.Must(template.New("understudy").Parse(`listeners:
  - name: web
    address: "{{.Listen}}"
{{- if .Wire.TLS}}
    protocol: HTTPS
    tls:
      certificates: [{cert: "{{.Dir}}/cert.pem", key: "{{.Dir}}/key.pem"}]
      minVersion: "1.3"
{{- else}}
    protocol: HTTP
{{- end}}
routes:
  - name: bench
    listeners: [web]
    rules:
      - backends: [{name: primary}]
{{- if .Mirror}}
        mirrors:
          - backend: shadow
            percent: {{.Percent}}
            writes: copy
            limits: {inFlight: 1024, queue: 16384, memory: 128MiB}
{{- if .Pipeline}}
            pipeline: {{.Pipeline}}
{{- end}}
{{- if .Body}}
            body: {limit: {{.Body}}}
{{- end}}
{{- if .Compare}}
            compare: {percent: {{.Compared}}}
{{- end}}
{{- end}}
backends:
  - {name: primary, endpoints: ["{{.Primary}}"]{{if .Wire.GRPC}}, protocol: HTTP2{{end}}}
{{- if .Mirror}}
  - {name: shadow, endpoints: ["{{.Shadow}}"]{{if .Wire.GRPC}}, protocol: HTTP2{{end}}}
{{- end}}
admin: {address: "{{.Admin}}"}
{{- if .Unyielding}}
capture: {yield: false}
{{- end}}
`))

// Envoy in its fair form: one worker per core, no log, no limit on connections
// or requests to the upstreams that the load could reach. What it counts and
// adds by default it counts and adds.
var envoyConf = template.Must(template.New("envoy").Parse(`{{define "cluster"}}
  - name: {{.Name}}
    connect_timeout: 5s
    type: STATIC
    circuit_breakers: {thresholds: [{max_connections: 16384, max_pending_requests: 16384, max_requests: 16384}]}
{{- if .HTTP2}}
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
{{- end}}
    load_assignment:
      cluster_name: {{.Name}}
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: "{{.Host}}", port_value: {{.Port}}}}}}]}]
{{- end -}}
static_resources:
  listeners:
  - name: web
    address: {socket_address: {address: "{{.ListenHost}}", port_value: {{.ListenPort}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          codec_type: {{if .Wire.HTTP2}}HTTP2{{else}}HTTP1{{end}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
          route_config:
            virtual_hosts:
            - name: bench
              domains: ["*"]
              routes:
              - match: {prefix: /}
                route:
                  cluster: primary
                  timeout: 0s
{{- if .Mirror}}
                  request_mirror_policies:
                  - cluster: shadow
                    runtime_fraction: {default_value: {numerator: 100, denominator: HUNDRED}}
{{- end}}
{{- if .Wire.TLS}}
      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [{{if .Wire.HTTP2}}h2{{else}}http/1.1{{end}}]
            tls_params: {tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3}
            tls_certificates: [{certificate_chain: {filename: "{{.Dir}}/cert.pem"}, private_key: {filename: "{{.Dir}}/key.pem"}}]
{{- end}}
  clusters:
{{- range .Clusters}}{{template "cluster" .}}{{end}}
`))

// cluster is an upstream as Envoy wants it written.
type cluster struct {
	Name, Host, Port string
	HTTP2            bool
}

// ListenHost is the address of Listen.
func (p *place) ListenHost() string { return hostOf(p.Listen) }

// ListenPort is the port of Listen.
func (p *place) ListenPort() string { return portOf(p.Listen) }

// Clusters are the upstreams that the place's proxy needs.
func (p *place) Clusters() []cluster {
	all := []cluster{{"primary", hostOf(p.Primary), portOf(p.Primary), p.Wire.GRPC}}
	if p.Mirror {
		all = append(all, cluster{"shadow", hostOf(p.Shadow), portOf(p.Shadow), p.Wire.GRPC})
	}
	return all
}

func hostOf(addr string) string { return addr[:max(strings.LastIndexByte(addr, ':'), 0)] }
func portOf(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }

// render gives the configuration of a proxy in its place.
func (p *place) render() (string, error) {
	t := map[string]*template.Template{"nginx": nginxConf, "haproxy": haproxyConf, "envoy": envoyConf, "understudy": understudyConf}[p.Program]
	var b strings.Builder
	err := t.Execute(&b, p)
	return b.String(), err
}
