# Redis, in memory alone, when it is installed.
command -v redis-server >/dev/null || { echo 'redis-server is not installed: orders are not counted'; exit 0; }
# Who may call is the mesh's to say, by identity; Redis itself would refuse every address but its loopback.
exec redis-server --save '' --appendonly no --protected-mode no
