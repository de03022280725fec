// SPDX-License-Identifier: GPL-3.0-or-later

// Command runc runs the real runc for a host whose root lacks
// CAP_SYS_RESOURCE: no container may then ask for that capability,
// raise an rlimit or lower its OOM score.
package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

func option(args []string, names ...string) string {
	for i, a := range args {
		for _, n := range names {
			if a == n && i+1 < len(args) {
				return args[i+1]
			}
			if v, ok := strings.CutPrefix(a, n+"="); ok {
				return v
			}
		}
	}
	return ""
}

func strip(process map[string]any) {
	caps, _ := process["capabilities"].(map[string]any)
	for set, v := range caps {
		kept := []any{}
		list, _ := v.([]any)
		for _, c := range list {
			if c != "CAP_SYS_RESOURCE" {
				kept = append(kept, c)
			}
		}
		caps[set] = kept
	}
	delete(process, "rlimits")
	delete(process, "oomScoreAdj")
}

func edit(path, key string) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return
	}
	var doc map[string]any
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.UseNumber()
	if dec.Decode(&doc) != nil {
		return
	}
	p := doc
	if key != "" {
		p, _ = doc[key].(map[string]any)
	}
	if p == nil {
		return
	}
	strip(p)
	if out, err := json.Marshal(doc); err == nil {
		os.WriteFile(path, out, 0o600)
	}
}

func main() {
	real := "/usr/local/sbin/runc.real"
	if _, err := os.Stat(real); err != nil {
		real = "/usr/sbin/runc"
	}
	args := os.Args[1:]
	for _, a := range args {
		switch a {
		case "create", "run":
			edit(filepath.Join(option(args, "--bundle", "-b"), "config.json"), "process")
		case "exec":
			if p := option(args, "--process", "-p"); p != "" {
				edit(p, "")
			}
		default:
			continue
		}
		break
	}
	if err := syscall.Exec(real, append([]string{real}, args...), os.Environ()); err != nil {
		os.Stderr.WriteString("runc: " + err.Error() + "\n")
		os.Exit(1)
	}
}
