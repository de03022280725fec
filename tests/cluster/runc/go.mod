// SPDX-License-Identifier: GPL-3.0-or-later

module lab/runc

go 1.24
