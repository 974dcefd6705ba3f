<?php
// The relay in PHP, at https://www.example.com/relay/wt of your own site. In the page:
//   wtSmart.advanced.set({sendViaServer: {activated: true, serverDomain: 'www.example.com', serverPath: 'relay/wt'}});
$tracker = getenv('TRACKER') ?: 'https://t.example.com/111111111111111';
$secret = getenv('TRACKER_SECRET') ?: 'the secret of the track id in mapp.secrets';

// Of the browser's cookies only the tracker's own pass.
$own = '/^(wteid_[\d,]+|wtsid_[\d,]+|visitorId|broadlogId|deliveryId|webtrekkOptOut)=/';
$cookies = preg_grep($own, array_map('trim', explode(';', $_SERVER['HTTP_COOKIE'] ?? '')));
$agent = $_SERVER['HTTP_USER_AGENT'] ?? '';

$context = stream_context_create(['http' => [
    'header' => [
        "X-WT-Secret: $secret",
        // Behind a proxy of your own: the address that it names.
        'X-WT-IP: ' . $_SERVER['REMOTE_ADDR'],
        "X-WT-UA: $agent",
        "User-Agent: $agent",
        'Referer: ' . ($_SERVER['HTTP_REFERER'] ?? ''),
        'Cookie: ' . implode('; ', $cookies),
        'Connection: close',
    ],
    'timeout' => 3,
    'follow_location' => 0,
    'ignore_errors' => true,
]]);
$gif = @file_get_contents("$tracker/wt?" . ($_SERVER['QUERY_STRING'] ?? ''), false, $context);
foreach (preg_grep('/^Set-Cookie:/i', $http_response_header ?? []) as $line) {
    header($line, false);
}
header('Content-Type: image/gif');
header('Cache-Control: private, no-cache, no-store');
// The page does not mind a tracker that is away.
echo $gif ?: base64_decode('R0lGODlhAQABAIAAAAAAAP///yH5BAAAAAAALAAAAAABAAEAAAICRAEAOw==');
