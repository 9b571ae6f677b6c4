"""What has died is found out early."""

# Seconds between two looks at the users' servers, and between two comparisons of the proxy's routes with
# what they should be: a proxy that was started anew knows none. By default 30 and 300.
c.Spawner.poll_interval = 5
c.JupyterHub.last_activity_interval = 30
# A hub with many servers answers before it has looked after each of them.
c.JupyterHub.init_spawners_timeout = 2
