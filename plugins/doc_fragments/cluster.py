# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations


class ModuleDocFragment:
    # The options of kubernetes.core, without its fragment: these modules work without that collection.
    DOCUMENTATION = r"""
options:
  kubeconfig:
    description:
      - Path of the kubeconfig, several paths as in E(KUBECONFIG), or its content as a dictionary.
      - Can also be specified via E(K8S_AUTH_KUBECONFIG).
      - >-
        Without it, O(context), and O(host) with credentials: E(KUBECONFIG), C(~/.kube/config), then the
        service account of the pod that this runs in.
      - >-
        Everything in it has the same effect as for C(kubectl), for requests and for port-forwards. An
        C(auth-provider) is refused, and so is a C(socks5) proxy without the Python package PySocks.
    type: raw
  context:
    description:
      - Context of the kubeconfig; by default its current one.
      - Can also be specified via E(K8S_AUTH_CONTEXT).
    type: str
  host:
    description:
      - URL of the API server. With credentials, no kubeconfig is needed.
      - Can also be specified via E(K8S_AUTH_HOST).
    type: str
  api_key:
    description:
      - Token to authenticate with. Credentials given by options replace all those of the kubeconfig.
      - Can also be specified via E(K8S_AUTH_API_KEY).
    type: str
  username:
    description:
      - User name to authenticate with, if the API server accepts HTTP Basic authentication.
      - Can also be specified via E(K8S_AUTH_USERNAME).
    type: str
  password:
    description:
      - Password to authenticate with, see O(username).
      - Can also be specified via E(K8S_AUTH_PASSWORD).
    type: str
  client_cert:
    description:
      - Path of a certificate to authenticate with.
      - Can also be specified via E(K8S_AUTH_CLIENT_CERT) or E(K8S_AUTH_CERT_FILE).
    type: path
    aliases: [cert_file]
  client_key:
    description:
      - Path of the key of O(client_cert).
      - Can also be specified via E(K8S_AUTH_CLIENT_KEY) or E(K8S_AUTH_KEY_FILE).
    type: path
    aliases: [key_file]
  ca_cert:
    description:
      - Path of the certificates that verify the API server's certificate.
      - Can also be specified via E(K8S_AUTH_CA_CERT) or E(K8S_AUTH_SSL_CA_CERT).
    type: path
    aliases: [ssl_ca_cert]
  validate_certs:
    description:
      - Whether the API server's certificate is verified; by default as in the kubeconfig.
      - Can also be specified via E(K8S_AUTH_VALIDATE_CERTS) or E(K8S_AUTH_VERIFY_SSL).
    type: bool
    aliases: [verify_ssl]
  proxy:
    description:
      - URL of a proxy to the API server; C(http), C(https) or C(socks5), with its user and password.
      - >-
        By default the C(proxy-url) of the kubeconfig, then E(HTTPS_PROXY) and E(NO_PROXY), which never apply
        to an API server on this machine.
      - Can also be specified via E(K8S_AUTH_PROXY).
    type: str
  no_proxy:
    description:
      - Hosts, domains, addresses and networks, separated by commas, that are reached without the proxy.
      - Can also be specified via E(K8S_AUTH_NO_PROXY).
    type: str
  proxy_headers:
    description: Headers for the proxy.
    type: dict
    suboptions:
      proxy_basic_auth:
        description:
          - User and password of the proxy, with a colon between them.
          - Can also be specified via E(K8S_AUTH_PROXY_HEADERS_PROXY_BASIC_AUTH).
        type: str
      basic_auth:
        description:
          - User and password of a header C(Authorization), with a colon between them.
          - Can also be specified via E(K8S_AUTH_PROXY_HEADERS_BASIC_AUTH).
        type: str
      user_agent:
        description:
          - Header C(User-Agent).
          - Can also be specified via E(K8S_AUTH_PROXY_HEADERS_USER_AGENT).
        type: str
  persist_config:
    description:
      - Accepted for C(module_defaults) that are shared with C(kubernetes.core); it has no effect.
      - A kubeconfig is never written.
      - Can also be specified via E(K8S_AUTH_PERSIST_CONFIG).
    type: bool
  impersonate_user:
    description:
      - User to impersonate in all requests.
      - Can also be specified via E(K8S_AUTH_IMPERSONATE_USER).
    type: str
  impersonate_groups:
    description:
      - Groups of O(impersonate_user).
      - Can also be specified via E(K8S_AUTH_IMPERSONATE_GROUPS), with commas between them.
    type: list
    elements: str
  namespace:
    description: Namespace of the experiment.
    type: str
    required: true
  lock:
    description:
      - The lock that this run must hold to write, as P(eden.reference.preflight#module) returns it.
      - It is taken right before the first write, and renewed while the module works. Nothing is written
        if another run holds it, or has written since P(eden.reference.preflight#module) read the cluster.
      - Without it, nothing keeps two runs apart.
    type: dict
    suboptions:
      name:
        description: Name of the Lease.
        type: str
        required: true
      holder:
        description: Identity of this run.
        type: str
        required: true
      version:
        description: Version of the Lease before the cluster was read, empty if there was none.
        type: str
        default: ""
      labels:
        description: Labels of the Lease.
        type: dict
        default: {}
requirements:
  - python >= 3.11
  - kubernetes >= 29.0
"""
