# shellcheck shell=dash
# A stand-in for /lib/functions/procd.sh and jshn.sh: every call becomes a line of /tmp/procd, its words
# parted by tabs. A service runs while /tmp/running holds its name.

record() {
	local word line
	for word in "$@"; do
		line="$line${line:+	}$word"
	done
	echo "$line" >> /tmp/procd
}

for name in procd_open_service procd_open_instance procd_close_instance procd_set_param procd_append_param \
	procd_add_jail procd_add_jail_mount procd_add_jail_mount_rw procd_open_data procd_close_data \
	procd_add_reload_trigger procd_add_raw_trigger procd_add_reload_interface_trigger \
	procd_add_reload_mount_trigger procd_send_signal procd_set_config_changed \
	json_add_array json_close_array json_add_object json_close_object json_add_string; do
	eval "$name() { record $name \"\$@\"; }"
done

procd_close_service() {
	record procd_close_service "$@"
	[ "$1" = add ] || : > /tmp/running
	! grep -q procd_open_instance /tmp/procd || echo doorstep > /tmp/running
}

procd_kill() {
	record procd_kill "$@"
	: > /tmp/running
}

procd_running() {
	grep -qx "$1" /tmp/running 2> /dev/null
}
